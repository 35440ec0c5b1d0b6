/* Sending, in each of the ways, as fast as it goes or evenly paced. */
#include "reference.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 64       /* a sendmmsg of single datagrams */
#define TRAINS_A_CALL 8   /* a sendmmsg of trains */
#define MOST_SEGMENTS 128 /* Linux 6.9; before it 64 */
#define MOST_BYTES 65507
#define CONTROL_BYTES 64

struct message {
    struct place place;
    struct iovec vector;
    char control[CONTROL_BYTES] __attribute__((aligned(8)));
};

static void count(uint64_t datagrams, size_t size)
{
    uint64_t sent = atomic_load_explicit(&counters.datagrams, memory_order_relaxed) + datagrams;
    atomic_store_explicit(&counters.datagrams, sent, memory_order_relaxed);
    atomic_store_explicit(&counters.bytes, sent * size, memory_order_relaxed);
}

static unsigned datagrams_of(const struct work *work)
{
    unsigned fit = work->size ? (unsigned)(MOST_BYTES / work->size) : 1;

    if (work->calls != TRAINS)
        return 1;
    if (work->train)
        return work->train < fit ? work->train : fit;
    return fit < MOST_SEGMENTS ? fit : MOST_SEGMENTS;
}

static unsigned messages_of(const struct work *work)
{
    if (work->calls == PLAIN || work->rate)
        return 1;
    return work->calls == TRAINS ? TRAINS_A_CALL : MESSAGES;
}

/* Waits until it is time for the datagram of this number. */
static void keep_pace(const struct work *work, double start, uint64_t number)
{
    double due = start + (double)number / work->rate;

    while (now() < due)
        ;
}

/* Memory that payloads come from. */
struct memory {
    unsigned char *bytes;
    size_t length, at;
};

static struct memory memory_of(const struct work *work, size_t least)
{
    struct memory memory = {.length = work->fresh > least ? work->fresh : least};

    memory.bytes = malloc(memory.length);
    if (!memory.bytes)
        fail("malloc");
    /* Each page is its own: pages that were never written are all the same one. */
    memset(memory.bytes, 0x5a, memory.length);
    return memory;
}

/* The payload of the next message, with the numbers of its datagrams if it is fresh. */
static unsigned char *next_payload(const struct work *work, struct memory *memory, size_t datagrams,
                                   uint64_t number)
{
    unsigned char *payload;

    if (memory->length - memory->at < datagrams * work->size)
        memory->at = 0;
    payload = memory->bytes + memory->at;
    memory->at += datagrams * work->size;
    if (work->fresh && work->size >= sizeof number)
        for (size_t i = 0; i < datagrams; i++, number++)
            memcpy(payload + i * work->size, &number, sizeof number);
    return payload;
}

static int hand_over(int socket_, struct mmsghdr *headers, unsigned count_)
{
    int sent;

    if (count_ == 1)
        return sendmsg(socket_, &headers[0].msg_hdr, 0) == -1 ? -1 : 1;
    do
        sent = sendmmsg(socket_, headers, count_, 0);
    while (sent == -1 && errno == EINTR);
    return sent;
}

static void prepare(const struct work *work, struct message *message, struct mmsghdr *header,
                    unsigned char *payload, unsigned datagrams)
{
    bool v6 = is_v6(&message->place);
    unsigned segment = datagrams > 1 ? (unsigned)work->size : 0;

    message->vector = (struct iovec){.iov_base = payload, .iov_len = work->size * datagrams};
    header->msg_hdr = (struct msghdr){
        .msg_name = &message->place.address, .msg_namelen = message->place.length,
        .msg_iov = &message->vector, .msg_iovlen = 1, .msg_control = message->control,
    };
    header->msg_hdr.msg_controllen = egress_control(work, v6, segment, message->control, CONTROL_BYTES);
}

/* All destinations, in the order in which they are sent to. */
static struct place *places_of(const struct work *work)
{
    struct place *places = calloc(work->groups, sizeof *places);

    if (!places)
        fail("calloc");
    for (unsigned i = 0; i < work->groups; i++)
        places[i] = place_of(work, i);
    return places;
}

void send_on(const struct work *work)
{
    unsigned datagrams = datagrams_of(work), messages = messages_of(work), next = 0;
    struct mmsghdr headers[MESSAGES] = {0};
    struct message *space = calloc(messages, sizeof *space);
    struct memory memory = memory_of(work, (size_t)messages * datagrams * (work->size ? work->size : 1));
    struct place *places = places_of(work);
    int socket_ = sending_socket(work);
    double start;

    errno = EOPNOTSUPP;
    if (work->calls == WIRE)
        fail("sending by AF_XDP");
    if (!space)
        fail("calloc");
    if (!work->count)
        start_sampler(work);
    ready();
    start = now();
    for (uint64_t number = 0; !work->count || number < work->count; number += (uint64_t)messages * datagrams) {
        for (unsigned i = 0; i < messages; i++) {
            space[i].place = places[next];
            next = next + 1 == work->groups ? 0 : next + 1;
            unsigned char *payload = next_payload(work, &memory, datagrams, number + (uint64_t)i * datagrams);
            prepare(work, &space[i], &headers[i], payload, datagrams);
        }
        if (work->rate)
            keep_pace(work, start, number);
        int sent = hand_over(socket_, headers, messages);
        if (sent == -1)
            fail("sendmsg");
        count((uint64_t)sent * datagrams, work->size);
    }
    report_all(start);
}
