/* The metadata that mcast reports with each datagram, read from the control messages. */
#include "reference.h"

#include <string.h>
#include <time.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SCM_TIMESTAMPNS
#define SCM_TIMESTAMPNS SO_TIMESTAMPNS
#endif

static void read_socket(const struct cmsghdr *control, struct arrival *arrival)
{
    if (control->cmsg_type == SCM_TIMESTAMPNS)
        memcpy(&arrival->time, CMSG_DATA(control), sizeof arrival->time);
    else if (control->cmsg_type == SO_RXQ_OVFL)
        memcpy(&arrival->dropped, CMSG_DATA(control), sizeof arrival->dropped);
}

static void read_v4(const struct cmsghdr *control, struct arrival *arrival)
{
    struct in_pktinfo info;

    if (control->cmsg_type == IP_PKTINFO) {
        memcpy(&info, CMSG_DATA(control), sizeof info);
        arrival->interface = (unsigned)info.ipi_ifindex;
        memcpy(&arrival->group, &info.ipi_addr, sizeof info.ipi_addr);
    } else if (control->cmsg_type == IP_TTL) {
        memcpy(&arrival->hop_limit, CMSG_DATA(control), sizeof arrival->hop_limit);
    } else if (control->cmsg_type == IP_TOS) {
        arrival->traffic_class = *CMSG_DATA(control);
    }
}

static void read_v6(const struct cmsghdr *control, struct arrival *arrival)
{
    struct in6_pktinfo info;

    if (control->cmsg_type == IPV6_PKTINFO) {
        memcpy(&info, CMSG_DATA(control), sizeof info);
        arrival->interface = info.ipi6_ifindex;
        arrival->group = info.ipi6_addr;
    } else if (control->cmsg_type == IPV6_HOPLIMIT) {
        memcpy(&arrival->hop_limit, CMSG_DATA(control), sizeof arrival->hop_limit);
    } else if (control->cmsg_type == IPV6_TCLASS) {
        memcpy(&arrival->traffic_class, CMSG_DATA(control), sizeof arrival->traffic_class);
    }
}

struct arrival read_arrival(struct msghdr *header)
{
    struct arrival arrival = {.segment = 0};
    struct cmsghdr *control;

    for (control = CMSG_FIRSTHDR(header); control; control = CMSG_NXTHDR(header, control)) {
        if (control->cmsg_level == SOL_SOCKET)
            read_socket(control, &arrival);
        else if (control->cmsg_level == IPPROTO_IP)
            read_v4(control, &arrival);
        else if (control->cmsg_level == IPPROTO_IPV6)
            read_v6(control, &arrival);
        else if (control->cmsg_level == IPPROTO_UDP && control->cmsg_type == UDP_GRO)
            memcpy(&arrival.segment, CMSG_DATA(control), sizeof arrival.segment);
    }
    return arrival;
}

bool is_ours(const struct arrival *arrival, const struct work *work, const struct place *place)
{
    const void *group = is_v6(place)
        ? (const void *)&((const struct sockaddr_in6 *)&place->address)->sin6_addr
        : (const void *)&((const struct sockaddr_in *)&place->address)->sin_addr;

    return arrival->interface == work->interface_index
        && memcmp(&arrival->group, group, is_v6(place) ? 16 : 4) == 0;
}
