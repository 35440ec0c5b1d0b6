/* Receiving, in each of the ways. */
#include "reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFERS 64
#define BUFFER_BYTES 65536
#define CONTROL_BYTES 256

/* Hands out the datagrams that a buffer holds. */
static inline void unpack(struct tally *tally, const unsigned char *bytes, size_t length, size_t segment)
{
    size_t at = 0;

    if (segment == 0 || length == 0) {
        consume(tally, bytes, length);
        return;
    }
    for (; at < length; at += segment)
        consume(tally, bytes + at, length - at < segment ? length - at : segment);
}

static inline void take(const struct work *work, const struct place *place, struct tally *tally,
                        struct msghdr *header, size_t length)
{
    size_t segment = 0;

    if (!work->bare || work->calls == TRAINS) {
        struct arrival arrival = read_arrival(header);
        if (!work->bare && !is_ours(&arrival, work, place))
            return;
        segment = (size_t)arrival.segment;
    }
    unpack(tally, header->msg_iov->iov_base, length, segment);
}

static void receive_plain(const struct work *work, const struct place *place, int socket_)
{
    static unsigned char bytes[BUFFER_BYTES];
    struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
    struct sockaddr_storage source;
    char control[CONTROL_BYTES];
    struct tally tally = {0};

    for (;;) {
        struct msghdr header = {.msg_name = &source, .msg_namelen = sizeof source,
                                .msg_iov = &vector, .msg_iovlen = 1};
        if (!work->bare) {
            header.msg_control = control;
            header.msg_controllen = sizeof control;
        }
        ssize_t length = recvmsg(socket_, &header, MSG_TRUNC);
        if (length == -1)
            fail("recvmsg");
        take(work, place, &tally, &header, (size_t)length);
        publish(&tally);
    }
}

static void receive_many(const struct work *work, const struct place *place, int socket_)
{
    unsigned char *bytes = malloc((size_t)BUFFERS * BUFFER_BYTES);
    static struct mmsghdr headers[BUFFERS];
    static struct iovec vectors[BUFFERS];
    static struct sockaddr_storage sources[BUFFERS];
    static char controls[BUFFERS][CONTROL_BYTES];
    struct tally tally = {0};

    if (!bytes)
        fail("malloc");
    memset(bytes, 0, (size_t)BUFFERS * BUFFER_BYTES);
    for (;;) {
        for (int i = 0; i < BUFFERS; i++) {
            vectors[i] = (struct iovec){.iov_base = bytes + (size_t)i * BUFFER_BYTES, .iov_len = BUFFER_BYTES};
            headers[i].msg_hdr = (struct msghdr){.msg_name = &sources[i], .msg_namelen = sizeof sources[i],
                                                 .msg_iov = &vectors[i], .msg_iovlen = 1};
            /* Merged buffers cannot be cut without their control message, bare or not. */
            if (!work->bare || work->calls == TRAINS) {
                headers[i].msg_hdr.msg_control = controls[i];
                headers[i].msg_hdr.msg_controllen = CONTROL_BYTES;
            }
        }
        int count = recvmmsg(socket_, headers, BUFFERS, MSG_WAITFORONE | MSG_TRUNC, NULL);
        if (count == -1)
            fail("recvmmsg");
        for (int i = 0; i < count; i++)
            take(work, place, &tally, &headers[i].msg_hdr, headers[i].msg_len);
        publish(&tally);
    }
}

void receive(const struct work *work)
{
    struct place place = place_of(work, 0);
    int socket_ = receiving_socket(work);

    if (work->calls == WIRE)
        receive_from_wire(work, &place);
    start_sampler(work);
    ready();
    if (work->calls == PLAIN)
        receive_plain(work, &place, socket_);
    receive_many(work, &place, socket_);
    abort();
}
