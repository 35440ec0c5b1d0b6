/* Messages by NORM (RFC 5740): a stream of libnorm, at a fixed rate. See ../README.md.
 *
 * Beside the common arguments: --bits, the rate in bits per second if there is no --rate (libnorm needs one);
 * --parity, the parity segments of a block of 64 (0: repair by retransmission alone); and --acked 1, to wait after each
 * message until all receivers have acknowledged it. */
#include <normApi.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENT = 1400, BLOCK = 64, BUFFER = 16 << 20, LARGEST = 65536, TIMEOUT_SECONDS = 20, UNTIMED = 64, FIRST_RECEIVER = 2 };

/* Marks the number of the last message. */
static const uint64_t LAST = 1ull << 63;

struct options {
    char group[64] = {};
    int port = 0;
    const char *interface = nullptr;
    uint64_t size = 1344, rate = 0, receivers = 1;
    double seconds = 1, timeout = 30, linger = 10;
    double bits = 1e9;
    int parity = 0, acked = 0;
};

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t nanoseconds(double seconds) { return (uint64_t)(seconds * 1e9); }

static void fail(const char *what) {
    fprintf(stderr, "norm-peer: %s\n", what);
    exit(1);
}

static struct options read_options(int count, char **words) {
    struct options options;
    for (int i = 2; i + 1 < count; i += 2) {
        const char *name = words[i], *value = words[i + 1];
        uint64_t number = strtoull(value, NULL, 10);
        if (!strcmp(name, "--group")) {
            const char *colon = strrchr(value, ':');
            if (!colon || (size_t)(colon - value) >= sizeof options.group) fail("--group GROUP:PORT");
            memcpy(options.group, value, (size_t)(colon - value));
            options.port = atoi(colon + 1);
        } else if (!strcmp(name, "--interface")) options.interface = value;
        else if (!strcmp(name, "--size")) options.size = number;
        else if (!strcmp(name, "--receivers")) options.receivers = number;
        else if (!strcmp(name, "--seconds")) options.seconds = atof(value);
        else if (!strcmp(name, "--rate")) options.rate = number;
        else if (!strcmp(name, "--timeout")) options.timeout = atof(value);
        else if (!strcmp(name, "--bits")) options.bits = atof(value);
        else if (!strcmp(name, "--parity")) options.parity = atoi(value);
        else if (!strcmp(name, "--acked")) options.acked = atoi(value);
        else if (!strcmp(name, "--linger")) options.linger = atof(value);
    }
    if (options.size < 16 || options.size > LARGEST) fail("--size of 16 to 65536");
    return options;
}

static NormSessionHandle open_session(NormInstanceHandle instance, const struct options *options, NormNodeId id) {
    NormSessionHandle session = NormCreateSession(instance, options->group, (UINT16)options->port, id);
    if (session == NORM_SESSION_INVALID) fail("no session");
    if (options->interface && !NormSetMulticastInterface(session, options->interface)) fail("no such interface");
    return session;
}

/* Waits for an event, for so many milliseconds at most. */
static bool next_event(NormInstanceHandle instance, NormEvent *event, int milliseconds) {
    int descriptor = NormGetDescriptor(instance);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(descriptor, &set);
    struct timeval time = {milliseconds / 1000, milliseconds % 1000 * 1000};
    return select(descriptor + 1, &set, NULL, NULL, &time) > 0 && NormGetNextEvent(instance, event, false);
}

static bool input_has_ended(void) {
    char byte;
    fd_set set;
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    struct timeval none = {};
    return select(STDIN_FILENO + 1, &set, NULL, NULL, &none) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

/* A stream that keeps what not all subscribers have acknowledged: libnorm itself would send over it. */
struct kept_stream {
    NormInstanceHandle instance;
    NormSessionHandle session;
    NormObjectHandle stream;
    /* Segments that may be kept; that are; bytes of the one being filled. */
    unsigned room, kept, begun;
    bool asked;
};

static void take_event(struct kept_stream *to, int milliseconds) {
    NormEvent event;
    if (!next_event(to->instance, &event, milliseconds) || event.type != NORM_TX_WATERMARK_COMPLETED) return;
    if (NormGetAckingStatus(to->session) != NORM_ACK_SUCCESS) {
        NormResetWatermark(to->session);
        return;
    }
    to->asked = false;
    to->kept -= to->room / 2;
}

static void write_message(struct kept_stream *to, const char *message, uint64_t size) {
    uint64_t written = 0, deadline = now() + TIMEOUT_SECONDS * 1000000000ull;
    while (written < size) {
        unsigned count = 0;
        if (to->kept < to->room) count = NormStreamWrite(to->stream, message + written, (unsigned)(size - written));
        written += count;
        to->begun += count;
        to->kept += to->begun / SEGMENT;
        to->begun %= SEGMENT;
        if (!to->asked && to->kept >= to->room / 2) {
            NormSetWatermark(to->session, to->stream);
            to->asked = true;
        }
        if (written < size) take_event(to, 10);
        if (now() > deadline) fail("the stream took nothing for 20 s");
    }
    NormStreamMarkEom(to->stream);
}

/* Waits until all receivers have acknowledged everything. */
static void wait_acknowledged(NormInstanceHandle instance, NormSessionHandle session, NormObjectHandle stream) {
    uint64_t deadline = now() + TIMEOUT_SECONDS * 1000000000ull;
    NormStreamFlush(stream, true, NORM_FLUSH_PASSIVE);
    NormSetWatermark(session, stream, true);
    while (now() < deadline) {
        NormEvent event;
        if (!next_event(instance, &event, 10) || event.type != NORM_TX_WATERMARK_COMPLETED) continue;
        if (NormGetAckingStatus(session) == NORM_ACK_SUCCESS) return;
        NormResetWatermark(session);
    }
    fail("a message was not acknowledged in 20 s");
}

static int by_size(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static double microseconds(const uint64_t *sorted, uint64_t count, double quantile) {
    if (count == 0) return 0;
    uint64_t place = (uint64_t)(quantile * (double)(count - 1));
    return (double)sorted[place] / 1000;
}

static int publish(const struct options *options) {
    NormInstanceHandle instance = NormCreateInstance(false);
    NormSessionHandle session = open_session(instance, options, 1);
    NormSetCongestionControl(session, false, false);
    /* At the given pace libnorm must have room for its headers and for repairs. */
    NormSetTxRate(session, options->rate ? 4.0 * 8 * (double)(options->size * options->rate) + 1e7 : options->bits);
    NormSetTxSocketBuffer(session, 4 << 20);
    NormSetGrttEstimate(session, 0.001);
    NormSetGrttMax(session, 0.1);
    NormSetFlowControl(session, 0);
    for (uint64_t receiver = 0; receiver < options->receivers; receiver++) {
        NormAddAckingNode(session, (NormNodeId)(FIRST_RECEIVER + receiver));
    }
    if (!NormStartSender(session, 1, BUFFER, SEGMENT, BLOCK, (UINT16)options->parity, 0)) fail("no sender");
    NormObjectHandle stream = NormStreamOpen(session, BUFFER, NULL, 0);
    if (stream == NORM_OBJECT_INVALID) fail("no stream");
    unsigned room = NormGetStreamBufferSegmentCount(BUFFER, SEGMENT, BLOCK) - BLOCK;
    struct kept_stream to = {instance, session, stream, room, 0, 0, false};
    if (options->rate) NormStreamSetAutoFlush(stream, NORM_FLUSH_PASSIVE);
    char *message = static_cast<char *>(malloc(options->size));
    if (!message) fail("no memory");
    memset(message, 0x5a, options->size);
    uint64_t begun = now(), length = nanoseconds(options->seconds), sent = 0;
    uint64_t room_for_delays = 1 << 20, delays = 0, *delay = static_cast<uint64_t *>(malloc(room_for_delays * sizeof(uint64_t)));
    if (!delay) fail("no memory");
    for (bool ended = false; !ended; sent++) {
        uint64_t time = 0;
        if (options->rate) {
            uint64_t due = sent * 1000000000u / options->rate;
            /* The library's thread may have no other processor. */
            while (now() - begun < due) sched_yield();
            ended = due >= length;
            time = now();
        } else if (sent % UNTIMED == 0) ended = now() - begun >= length;
        uint64_t number = ended ? sent | LAST : sent;
        memcpy(message, &number, 8);
        memcpy(message + 8, &time, 8);
        write_message(&to, message, options->size);
        /* Subscribers end with the last message, and may not acknowledge it. */
        if (options->acked && !ended) {
            wait_acknowledged(instance, session, stream);
            if (delays < room_for_delays) delay[delays++] = now() - time;
            continue;
        }
        take_event(&to, 0);
        if (options->rate) NormStreamFlush(stream, true, NORM_FLUSH_PASSIVE);
    }
    printf("{\"sent\":%llu,\"seconds\":%.6f", (unsigned long long)sent, (double)(now() - begun) / 1e9);
    if (options->acked) {
        qsort(delay, delays, sizeof(uint64_t), by_size);
        printf(",\"latency_us\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}", microseconds(delay, delays, 0.5),
               microseconds(delay, delays, 0.99), microseconds(delay, delays, 0.999), microseconds(delay, delays, 1));
    }
    printf("}\n");
    fflush(stdout);
    NormStreamFlush(stream, true, NORM_FLUSH_ACTIVE);
    /* It repairs until standard input ends, or so long. */
    for (uint64_t end = now() + nanoseconds(options->linger); now() < end && !input_has_ended();) {
        NormEvent event;
        next_event(instance, &event, 10);
    }
    NormDestroyInstance(instance);
    return 0;
}

/* The last number of an IPv4 address: who acknowledges must be known by a number. */
static NormNodeId last_number(const char *address) {
    const char *dot = address ? strrchr(address, '.') : NULL;
    if (!dot) fail("--interface with an IPv4 address");
    return (NormNodeId)atoi(dot + 1);
}

static int subscribe(const struct options *options) {
    NormInstanceHandle instance = NormCreateInstance(false);
    NormSessionHandle session = open_session(instance, options, last_number(options->interface));
    NormSetRxPortReuse(session, true, NULL, NULL, 0);
    /* A first datagram that is lost is asked for, too. */
    NormSetDefaultSyncPolicy(session, NORM_SYNC_STREAM);
    if (!NormStartReceiver(session, BUFFER)) fail("no receiver");
    NormSetRxSocketBuffer(session, 4 << 20);
    fprintf(stderr, "ready\n");
    char *message = static_cast<char *>(malloc(options->size));
    uint64_t room = 1 << 20, *latencies = static_cast<uint64_t *>(malloc(room * sizeof(uint64_t)));
    if (!message || !latencies) fail("no memory");
    uint64_t received = 0, filled = 0, timed = 0, first = 0, end = now() + nanoseconds(TIMEOUT_SECONDS);
    bool in_order = true, complete = false;
    while (!complete && now() < end) {
        NormEvent event;
        if (!next_event(instance, &event, 10) || event.type != NORM_RX_OBJECT_UPDATED) continue;
        while (!complete) {
            unsigned wanted = (unsigned)(options->size - filled);
            if (!NormStreamRead(event.object, message + filled, &wanted)) fail("the stream broke");
            if (wanted == 0) break;
            filled += wanted;
            if (filled < options->size) continue;
            uint64_t number, time;
            memcpy(&number, message, 8);
            memcpy(&time, message + 8, 8);
            filled = 0;
            if (received == 0) {
                first = now();
                end = first + nanoseconds(options->timeout);
            }
            in_order &= (number & ~LAST) == received;
            complete = number & LAST;
            if (time && timed < room) latencies[timed++] = now() - time;
            received++;
        }
    }
    double seconds = received ? (double)(now() - first) / 1e9 : 0;
    qsort(latencies, timed, sizeof(uint64_t), by_size);
    printf("{\"received\":%llu,\"in_order\":%s,\"complete\":%s,\"seconds\":%.6f,"
           "\"latency_us\":{\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"max\":%.1f}}\n",
           (unsigned long long)received, in_order ? "true" : "false", complete ? "true" : "false", seconds,
           microseconds(latencies, timed, 0.5), microseconds(latencies, timed, 0.99),
           microseconds(latencies, timed, 0.999), microseconds(latencies, timed, 1));
    NormDestroyInstance(instance);
    return 0;
}

static int tell_version(void) {
    int major = 0, minor = 0, patch = 0;
    NormGetVersion(&major, &minor, &patch);
    printf("NORM %d.%d.%d\n", major, minor, patch);
    return 0;
}

int main(int count, char **words) {
    if (count > 1 && !strcmp(words[1], "version")) return tell_version();
    struct options options = read_options(count, words);
    if (count > 1 && !strcmp(words[1], "publish")) return publish(&options);
    if (count > 1 && !strcmp(words[1], "subscribe")) return subscribe(&options);
    fail("publish or subscribe?");
}
