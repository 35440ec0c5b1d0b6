/* Ping-pong: one datagram to the group and back to the group, as often as it goes or at a rate. */
#include "reference.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SAMPLES (1 << 24)

struct ends {
    int receiver, sender;
    struct place place;
    const struct work *work;
};

static struct ends open_ends(const struct work *work)
{
    return (struct ends){receiving_socket(work), sending_socket(work), place_of(work, 0), work};
}

static void send_one(const struct ends *ends, unsigned char *payload, size_t length)
{
    char control[64] __attribute__((aligned(8)));
    struct iovec vector = {.iov_base = payload, .iov_len = length};
    struct msghdr header = {.msg_name = (void *)&ends->place.address, .msg_namelen = ends->place.length,
                            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control};

    header.msg_controllen = egress_control(ends->work, is_v6(&ends->place), 0, control, sizeof control);
    if (sendmsg(ends->sender, &header, 0) == -1)
        fail("sendmsg");
}

/* Receives one datagram of ours; 0 when nothing came for a tenth of a second. */
static size_t receive_one(const struct ends *ends, unsigned char *bytes, size_t room)
{
    double until = now() + 0.1;

    for (;;) {
        struct sockaddr_storage source;
        char control[256];
        struct iovec vector = {.iov_base = bytes, .iov_len = room};
        struct msghdr header = {.msg_name = &source, .msg_namelen = sizeof source, .msg_iov = &vector,
                                .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        ssize_t length = recvmsg(ends->receiver, &header, MSG_DONTWAIT);
        if (length >= 0) {
            struct arrival arrival = read_arrival(&header);
            if (is_ours(&arrival, ends->work, &ends->place))
                return (size_t)length;
        } else if (errno != EAGAIN) {
            fail("recvmsg");
        } else if (!ends->work->spin) {
            struct pollfd readable = {.fd = ends->receiver, .events = POLLIN};
            if (poll(&readable, 1, 100) == 0)
                return 0;
        } else if (now() > until) {
            return 0;
        }
    }
}

/* Waits until the next datagram is due, and returns when that was: a late one counts from then. */
static double wait_until_due(const struct work *work, double *due)
{
    double time = now();

    if (work->rate == 0)
        return time;
    *due = *due == 0 ? time : *due + 1.0 / work->rate;
    while (time < *due)
        time = now();
    return *due;
}

/* At a rate, a reply begins with the time at which the datagram was received. */
static void stamp(const struct work *work, unsigned char *payload, size_t length)
{
    double time = now();

    if (work->rate != 0 && length >= sizeof time)
        memcpy(payload, &time, sizeof time);
}

static int by_size(const void *a, const void *b)
{
    float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static double percentile(const float *sorted, size_t count, double part)
{
    return count ? sorted[(size_t)((double)(count - 1) * part)] : 0;
}

/* `silent`: sends nothing, so that the times say how late the machine lets it read the clock. */
void ping(const struct work *work, int silent)
{
    struct ends ends = silent ? (struct ends){0} : open_ends(work);
    float *samples = malloc(sizeof *samples * MOST_SAMPLES);
    unsigned char *payload = calloc(1, 65536);
    float *one_way = malloc(sizeof *one_way * MOST_SAMPLES);
    size_t count = 0;
    uint64_t lost = 0;
    double due = 0;

    if (!samples || !one_way || !payload)
        fail("malloc");
    ready();
    double start = now(), open = start + work->warm_up, end = open + work->seconds;
    for (double sent = now(); (sent = wait_until_due(work, &due)) < end && count < MOST_SAMPLES;) {
        if (!silent)
            send_one(&ends, payload, work->size);
        if (!silent && receive_one(&ends, payload, 65536) == 0) {
            lost++;
        } else if (sent >= open) {
            double there = sent;
            if (!silent && work->rate != 0 && work->size >= sizeof there)
                memcpy(&there, payload, sizeof there);
            one_way[count] = (float)((there - sent) * 1e6);
            samples[count++] = (float)((now() - sent) * 1e6);
        }
    }
    qsort(samples, count, sizeof *samples, by_size);
    qsort(one_way, count, sizeof *one_way, by_size);
    printf("{\"count\":%zu,\"lost\":%llu,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"p9999\":%.3f", count,
           (unsigned long long)lost, percentile(samples, count, 0.5), percentile(samples, count, 0.9),
           percentile(samples, count, 0.99), percentile(samples, count, 0.999), percentile(samples, count, 0.9999));
    if (work->rate != 0 && !silent)
        printf(",\"one_way\":{\"p50\":%.3f,\"p9999\":%.3f}", percentile(one_way, count, 0.5),
               percentile(one_way, count, 0.9999));
    printf("}\n");
    exit(0);
}

void pong(const struct work *work)
{
    struct ends ends = open_ends(work);
    unsigned char *payload = calloc(1, 65536);

    if (!payload)
        fail("calloc");
    ready();
    for (;;) {
        size_t length = receive_one(&ends, payload, 65536);
        if (length) {
            stamp(work, payload, length);
            send_one(&ends, payload, length);
        }
    }
}
