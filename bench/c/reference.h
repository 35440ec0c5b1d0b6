/* The reference: what hand-written C does with the system calls that mcast uses.
 *
 * One file per idea; this header joins them. Each program says "ready" when its sockets are open,
 * and ends with one JSON object on one line.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* How datagrams are handed to the kernel and taken from it. */
enum calls {
    PLAIN,  /* sendmsg, recvmsg: one datagram a call */
    MANY,   /* sendmmsg, recvmmsg */
    TRAINS, /* the same with UDP_SEGMENT and UDP_GRO: many datagrams a message */
    WIRE,   /* AF_XDP; receiving only */
};

struct work {
    enum calls calls;
    bool bare;      /* no control messages, no metadata: less than mcast gives */
    bool spin;      /* ask again and again instead of waiting */
    bool to_idle;   /* count until nothing has come for a second */
    const char *group;
    unsigned groups; /* this many, counting up from `group` */
    uint16_t port;
    const char *interface;
    const char *address; /* of the host, for HTTP clients */
    unsigned interface_index;
    size_t size;   /* bytes of payload */
    int buffer;    /* receive buffer to ask for; 0: the system's */
    unsigned rate; /* datagrams a second; 0: as fast as it goes */
    unsigned gather; /* milliseconds between two writes to HTTP clients */
    uint64_t count; /* send so many and end; 0: until the window closes */
    size_t fresh;   /* the payloads come from this many bytes in turn, each with its number; 0: from the same few */
    unsigned train; /* datagrams in one message; 0: as many as the kernel takes */
    double warm_up; /* seconds before the window opens */
    double seconds; /* the window */
};

/* One group address, either family. */
struct place {
    struct sockaddr_storage address;
    socklen_t length;
};

/* What the hot loop counts; the sampler's thread reads it. */
struct counters {
    _Atomic uint64_t datagrams;
    _Atomic uint64_t bytes;
    _Atomic uint64_t touched; /* keeps the compiler from leaving the payload alone */
};

extern struct counters counters;

/* What a receiving loop has counted; stored once a call where the sampler sees it. */
struct tally {
    uint64_t datagrams, bytes, touched;
};

static inline void consume(struct tally *tally, const unsigned char *payload, size_t length)
{
    tally->datagrams++;
    tally->bytes += length;
    if (length)
        tally->touched += payload[0];
}

static inline void publish(const struct tally *tally)
{
    atomic_store_explicit(&counters.datagrams, tally->datagrams, memory_order_relaxed);
    atomic_store_explicit(&counters.bytes, tally->bytes, memory_order_relaxed);
    atomic_store_explicit(&counters.touched, tally->touched, memory_order_relaxed);
}

/* work.c */
void parse_work(int count, char **arguments, struct work *work);
struct place place_of(const struct work *work, unsigned number);
void fail(const char *what) __attribute__((noreturn));
double now(void);
static inline bool is_v6(const struct place *place) { return place->address.ss_family == AF_INET6; }

/* sockets.c */
int receiving_socket(const struct work *work);
int sending_socket(const struct work *work);
size_t egress_control(const struct work *work, bool v6, unsigned segment, void *space, size_t room);

/* sampler.c: counts through a window and ends the program. */
void start_sampler(const struct work *work);
void report_all(double since) __attribute__((noreturn));
void ready(void);

/* The programs. */
void receive(const struct work *work) __attribute__((noreturn));
void receive_from_wire(const struct work *work, const struct place *place) __attribute__((noreturn));
void send_on(const struct work *work) __attribute__((noreturn));
void ping(const struct work *work, int silent) __attribute__((noreturn));
void pong(const struct work *work) __attribute__((noreturn));
void serve_http(const struct work *work) __attribute__((noreturn));

/* arrival.c */
struct arrival {
    struct in6_addr group; /* IPv4: the first four bytes */
    unsigned interface;
    int hop_limit;
    int traffic_class;
    int segment; /* bytes of each datagram in a merged buffer; 0: it is one datagram */
    struct timespec time;
    uint32_t dropped;
};
struct arrival read_arrival(struct msghdr *header);
bool is_ours(const struct arrival *arrival, const struct work *work, const struct place *place);

#endif
