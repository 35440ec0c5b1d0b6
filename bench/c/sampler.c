/* Counts through a window, from a thread of its own, so that the hot loop asks no clock. */
#include "reference.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct sample {
    uint64_t datagrams, bytes;
    double time, cpu;
};

static struct sample take_sample(void)
{
    struct timespec cpu;
    struct sample sample;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    sample.datagrams = atomic_load_explicit(&counters.datagrams, memory_order_relaxed);
    sample.bytes = atomic_load_explicit(&counters.bytes, memory_order_relaxed);
    sample.time = now();
    sample.cpu = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
    return sample;
}

static void wait_for_first(void)
{
    while (atomic_load_explicit(&counters.datagrams, memory_order_relaxed) == 0)
        usleep(1000);
}

/* The last sample after which nothing came for a second. */
static struct sample wait_for_silence(void)
{
    struct sample last = take_sample();

    for (;;) {
        usleep(20000);
        struct sample next = take_sample();
        if (next.datagrams != last.datagrams)
            last = next;
        else if (next.time - last.time > 1)
            return last;
    }
}

static void __attribute__((noreturn)) report(struct sample from, struct sample to)
{
    printf("{\"datagrams\":%llu,\"bytes\":%llu,\"seconds\":%.9f,\"cpu_seconds\":%.9f}\n",
           (unsigned long long)(to.datagrams - from.datagrams),
           (unsigned long long)(to.bytes - from.bytes), to.time - from.time, to.cpu - from.cpu);
    fflush(stdout);
    _exit(0);
}

static void *sample(void *argument)
{
    const struct work *work = argument;
    struct sample from = {0};

    wait_for_first();
    if (work->to_idle) {
        from.time = now();
        report(from, wait_for_silence());
    }
    usleep((useconds_t)(work->warm_up * 1e6));
    from = take_sample();
    usleep((useconds_t)(work->seconds * 1e6));
    report(from, take_sample());
}

void report_all(double since)
{
    struct sample none = {.time = since};

    report(none, take_sample());
}

void start_sampler(const struct work *work)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, sample, (void *)work) != 0)
        fail("pthread_create");
}

void ready(void)
{
    puts("ready");
    fflush(stdout);
}
