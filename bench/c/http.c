/* Groups for HTTP clients: datagrams from a socket for each group that is requested, to each client with writev. */
#include "reference.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#define AT_ONCE 64
#define DATAGRAM_BYTES 2048
#define CLIENTS 64
#define PENDING_BYTES (AT_ONCE * DATAGRAM_BYTES)
#define SEND_BUFFER (512 << 10)

/* A client. What the system did not take of a datagram is sent first; meanwhile others are dropped. */
struct client {
    int socket; /* -1: free */
    int group;  /* -1: no request yet */
    size_t pending;
    unsigned char *bytes;
};

enum kind { LISTENER, GROUP, CLIENT };

static struct client clients[CLIENTS];
static int groups[256];

static void watch(int poll, int socket_, enum kind kind, unsigned number)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | number};

    if (epoll_ctl(poll, EPOLL_CTL_ADD, socket_, &event) == -1)
        fail("epoll_ctl");
}

static int listener(const struct work *work)
{
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(work->port)};
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    if (socket_ == -1 || setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1)
        fail("socket");
    if (!work->address || inet_pton(AF_INET, work->address, &place.sin_addr) != 1) {
        errno = EINVAL;
        fail("--address");
    }
    if (bind(socket_, (struct sockaddr *)&place, sizeof place) == -1 || listen(socket_, CLIENTS) == -1)
        fail("listen");
    return socket_;
}

static void accept_client(int poll, int socket_)
{
    int accepted = accept4(socket_, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1, size = SEND_BUFFER;
    unsigned number = 0;

    if (accepted == -1)
        return;
    while (number < CLIENTS && clients[number].socket != -1)
        number++;
    if (number == CLIENTS) {
        close(accepted);
        return;
    }
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    unsigned char *bytes = clients[number].bytes ? clients[number].bytes : malloc(PENDING_BYTES);
    if (!bytes)
        fail("malloc");
    clients[number] = (struct client){.socket = accepted, .group = -1, .bytes = bytes};
    watch(poll, accepted, CLIENT, number);
}

static void drop_client(struct client *client)
{
    close(client->socket);
    client->socket = -1;
}

/* The number of the group in a request: GET /udp/GROUP:PORT. */
static int group_of(const struct work *work, const char *request)
{
    for (unsigned number = 0; number < work->groups; number++) {
        struct place place = place_of(work, number);
        char name[INET_ADDRSTRLEN], path[64];
        inet_ntop(AF_INET, &((struct sockaddr_in *)&place.address)->sin_addr, name, sizeof name);
        snprintf(path, sizeof path, "GET /udp/%s:%u ", name, work->port);
        if (strncmp(request, path, strlen(path)) == 0)
            return (int)number;
    }
    return -1;
}

static void join(const struct work *work, int poll, unsigned number)
{
    struct work one = *work;
    struct place place = place_of(work, number);
    char name[INET_ADDRSTRLEN];

    if (groups[number] != -1)
        return;
    inet_ntop(AF_INET, &((struct sockaddr_in *)&place.address)->sin_addr, name, sizeof name);
    one.group = name;
    groups[number] = receiving_socket(&one);
    watch(poll, groups[number], GROUP, number);
}

static void read_request(const struct work *work, int poll, struct client *client)
{
    static const char head[] = "HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n";
    char request[2048];
    ssize_t length = read(client->socket, request, sizeof request - 1);

    if (length == -1 && errno == EAGAIN)
        return;
    if (length <= 0) {
        drop_client(client);
        return;
    }
    request[length] = 0;
    client->group = group_of(work, request);
    if (client->group == -1 || write(client->socket, head, sizeof head - 1) != (ssize_t)sizeof head - 1) {
        drop_client(client);
        return;
    }
    join(work, poll, (unsigned)client->group);
}

/* Returns whether nothing is pending any more. */
static int send_pending(struct client *client)
{
    if (client->pending == 0)
        return 1;
    ssize_t sent = write(client->socket, client->bytes, client->pending);
    if (sent > 0) {
        client->pending -= (size_t)sent;
        memmove(client->bytes, client->bytes + sent, client->pending);
    }
    return client->pending == 0;
}

static void send_to(struct client *client, const struct iovec *vectors, int count, size_t total)
{
    if (!send_pending(client))
        return;
    ssize_t sent = writev(client->socket, vectors, count);
    if (sent == -1 || (size_t)sent == total)
        return;
    /* The rest of the datagram that was cut; those after it are dropped. */
    size_t at = (size_t)sent;
    while (at >= vectors->iov_len) {
        at -= vectors->iov_len;
        vectors++;
    }
    client->pending = at ? vectors->iov_len - at : 0;
    memcpy(client->bytes, (unsigned char *)vectors->iov_base + at, client->pending);
}

static void forward(int number)
{
    static unsigned char bytes[AT_ONCE][DATAGRAM_BYTES];
    static struct mmsghdr headers[AT_ONCE];
    static struct iovec vectors[AT_ONCE];
    size_t total = 0;

    for (int i = 0; i < AT_ONCE; i++) {
        vectors[i] = (struct iovec){.iov_base = bytes[i], .iov_len = DATAGRAM_BYTES};
        headers[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
    int count = recvmmsg(groups[number], headers, AT_ONCE, MSG_DONTWAIT, NULL);
    if (count <= 0)
        return;
    for (int i = 0; i < count; i++) {
        vectors[i].iov_len = headers[i].msg_len;
        total += headers[i].msg_len;
    }
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].socket != -1 && clients[i].group == number)
            send_to(&clients[i], vectors, count, total);
}

void serve_http(const struct work *work)
{
    struct epoll_event events[64];
    int poll = epoll_create1(EPOLL_CLOEXEC), listening = listener(work);

    if (poll == -1)
        fail("epoll_create1");
    for (unsigned number = 0; number < sizeof groups / sizeof *groups; number++)
        groups[number] = -1;
    for (unsigned number = 0; number < CLIENTS; number++)
        clients[number].socket = -1;
    if (work->groups > sizeof groups / sizeof *groups) {
        errno = EINVAL;
        fail("--groups");
    }
    watch(poll, listening, LISTENER, 0);
    ready();
    for (;;) {
        int count = epoll_wait(poll, events, 64, -1);
        if (count == -1 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            unsigned number = (unsigned)events[i].data.u64;
            switch ((enum kind)(events[i].data.u64 >> 32)) {
            case LISTENER: accept_client(poll, listening); break;
            case GROUP: forward((int)number); break;
            case CLIENT: read_request(work, poll, &clients[number]); break;
            }
        }
        if (work->gather)
            usleep(work->gather * 1000);
    }
}
