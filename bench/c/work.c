/* What is to be done, from the command line. */
#include "reference.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char *what)
{
    fprintf(stderr, "reference: %s: %s\n", what, strerror(errno));
    exit(1);
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static enum calls calls_named(const char *name)
{
    if (strcmp(name, "plain") == 0)
        return PLAIN;
    if (strcmp(name, "mmsg") == 0)
        return MANY;
    if (strcmp(name, "trains") == 0)
        return TRAINS;
    if (strcmp(name, "wire") == 0)
        return WIRE;
    errno = EINVAL;
    fail(name);
}

void parse_work(int count, char **arguments, struct work *work)
{
    static const struct option options[] = {
        {"calls", required_argument, 0, 'c'},     {"bare", no_argument, 0, 'b'},
        {"spin", no_argument, 0, 'x'},            {"to-idle", no_argument, 0, 'z'},
        {"group", required_argument, 0, 'g'},     {"groups", required_argument, 0, 'n'},
        {"port", required_argument, 0, 'p'},      {"interface", required_argument, 0, 'i'},
        {"address", required_argument, 0, 'a'},   {"size", required_argument, 0, 's'},
        {"buffer", required_argument, 0, 'm'},    {"rate", required_argument, 0, 'r'},
        {"gather", required_argument, 0, 'y'},
        {"train", required_argument, 0, 't'},     {"warm-up", required_argument, 0, 'w'},
        {"seconds", required_argument, 0, 'd'},   {"count", required_argument, 0, 'k'},
        {"fresh", required_argument, 0, 'f'},     {0, 0, 0, 0},
    };
    int option;

    memset(work, 0, sizeof *work);
    work->groups = 1;
    work->seconds = 1;
    while ((option = getopt_long(count, arguments, "", options, NULL)) != -1) {
        switch (option) {
        case 'c': work->calls = calls_named(optarg); break;
        case 'b': work->bare = true; break;
        case 'x': work->spin = true; break;
        case 'z': work->to_idle = true; break;
        case 'g': work->group = optarg; break;
        case 'n': work->groups = (unsigned)atoi(optarg); break;
        case 'p': work->port = (uint16_t)atoi(optarg); break;
        case 'i': work->interface = optarg; break;
        case 'a': work->address = optarg; break; /* for HTTP, and peers that know interfaces by address only */
        case 's': work->size = (size_t)atol(optarg); break;
        case 'm': work->buffer = atoi(optarg); break;
        case 'r': work->rate = (unsigned)atoi(optarg); break;
        case 'k': work->count = strtoull(optarg, NULL, 10); break;
        case 'f': work->fresh = (size_t)atoll(optarg); break;
        case 'y': work->gather = (unsigned)atoi(optarg); break;
        case 't': work->train = (unsigned)atoi(optarg); break;
        case 'w': work->warm_up = atof(optarg); break;
        case 'd': work->seconds = atof(optarg); break;
        default: exit(2);
        }
    }
    errno = EINVAL;
    if (!work->group || !work->interface || !work->port || !work->groups)
        fail("--group, --port and --interface are needed");
    work->interface_index = if_nametoindex(work->interface);
    if (work->interface_index == 0)
        fail(work->interface);
}

struct place place_of(const struct work *work, unsigned number)
{
    struct place place = {.length = 0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&place.address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&place.address;

    if (inet_pton(AF_INET, work->group, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(work->port);
        v4->sin_addr.s_addr = htonl(ntohl(v4->sin_addr.s_addr) + number);
        place.length = sizeof *v4;
    } else if (inet_pton(AF_INET6, work->group, &v6->sin6_addr) == 1) {
        uint32_t last;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(work->port);
        memcpy(&last, &v6->sin6_addr.s6_addr[12], sizeof last);
        last = htonl(ntohl(last) + number);
        memcpy(&v6->sin6_addr.s6_addr[12], &last, sizeof last);
        place.length = sizeof *v6;
    } else {
        errno = EINVAL;
        fail(work->group);
    }
    return place;
}
