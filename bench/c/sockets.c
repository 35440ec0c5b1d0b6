/* Sockets with the options that mcast sets. */
#include "reference.h"

#include <netinet/udp.h>
#include <string.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef IPV6_MULTICAST_ALL
#define IPV6_MULTICAST_ALL 29
#endif

static void set(int socket, int level, int option, int value, const char *what)
{
    if (setsockopt(socket, level, option, &value, sizeof value) == -1)
        fail(what);
}

static void ask_for_metadata(int socket, bool v6)
{
    set(socket, SOL_SOCKET, SO_TIMESTAMPNS, 1, "SO_TIMESTAMPNS");
    set(socket, SOL_SOCKET, SO_RXQ_OVFL, 1, "SO_RXQ_OVFL");
    if (v6) {
        set(socket, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
        set(socket, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1, "IPV6_RECVHOPLIMIT");
        set(socket, IPPROTO_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS");
    } else {
        set(socket, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
        set(socket, IPPROTO_IP, IP_RECVTTL, 1, "IP_RECVTTL");
        set(socket, IPPROTO_IP, IP_RECVTOS, 1, "IP_RECVTOS");
    }
}

static void join(int socket, const struct work *work, const struct place *place)
{
    struct group_req request = {.gr_interface = work->interface_index};
    int level = is_v6(place) ? IPPROTO_IPV6 : IPPROTO_IP;

    memcpy(&request.gr_group, &place->address, place->length);
    if (setsockopt(socket, level, MCAST_JOIN_GROUP, &request, sizeof request) == -1)
        fail("MCAST_JOIN_GROUP");
}

/* A receive buffer beyond net.core.rmem_max where that is allowed, as mcast asks for it. */
static void set_buffer(int socket, int bytes)
{
    if (bytes == 0)
        return;
    if (setsockopt(socket, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) == -1)
        set(socket, SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
}

int receiving_socket(const struct work *work)
{
    struct place place = place_of(work, 0);
    bool v6 = is_v6(&place);
    int socket_ = socket(place.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (socket_ == -1)
        fail("socket");
    set(socket_, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
    if (!work->bare)
        ask_for_metadata(socket_, v6);
    if (v6)
        set(socket_, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0, "IPV6_MULTICAST_ALL");
    else
        set(socket_, IPPROTO_IP, IP_MULTICAST_ALL, 0, "IP_MULTICAST_ALL");
    if (work->calls == TRAINS)
        set(socket_, IPPROTO_UDP, UDP_GRO, 1, "UDP_GRO");
    set_buffer(socket_, work->buffer);
    if (v6)
        ((struct sockaddr_in6 *)&place.address)->sin6_scope_id = work->interface_index;
    if (bind(socket_, (struct sockaddr *)&place.address, place.length) == -1)
        fail("bind");
    join(socket_, work, &place);
    return socket_;
}

int sending_socket(const struct work *work)
{
    struct place place = place_of(work, 0);
    struct sockaddr_storage any = {.ss_family = place.address.ss_family};
    int socket_ = socket(place.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (socket_ == -1)
        fail("socket");
    if (is_v6(&place)) {
        set(socket_, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1, "IPV6_MULTICAST_HOPS");
        set(socket_, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 0, "IPV6_MULTICAST_LOOP");
        set(socket_, IPPROTO_IPV6, IPV6_RECVERR, 1, "IPV6_RECVERR");
    } else {
        set(socket_, IPPROTO_IP, IP_MULTICAST_TTL, 1, "IP_MULTICAST_TTL");
        set(socket_, IPPROTO_IP, IP_MULTICAST_LOOP, 0, "IP_MULTICAST_LOOP");
        set(socket_, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT, "IP_MTU_DISCOVER");
        set(socket_, IPPROTO_IP, IP_RECVERR, 1, "IP_RECVERR");
    }
    if (bind(socket_, (struct sockaddr *)&any, place.length) == -1)
        fail("bind");
    return socket_;
}

/* Control messages to leave by the interface, and as a train if `segment` is not 0. */
size_t egress_control(const struct work *work, bool v6, unsigned segment, void *space, size_t room)
{
    struct msghdr header = {.msg_control = space, .msg_controllen = room};
    struct cmsghdr *control = CMSG_FIRSTHDR(&header);
    size_t length;

    memset(space, 0, room);
    if (v6) {
        struct in6_pktinfo info = {.ipi6_ifindex = work->interface_index};
        control->cmsg_level = IPPROTO_IPV6;
        control->cmsg_type = IPV6_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(control), &info, sizeof info);
        length = CMSG_SPACE(sizeof info);
    } else {
        struct in_pktinfo info = {.ipi_ifindex = (int)work->interface_index};
        control->cmsg_level = IPPROTO_IP;
        control->cmsg_type = IP_PKTINFO;
        control->cmsg_len = CMSG_LEN(sizeof info);
        memcpy(CMSG_DATA(control), &info, sizeof info);
        length = CMSG_SPACE(sizeof info);
    }
    if (segment) {
        uint16_t size = (uint16_t)segment;
        control = (struct cmsghdr *)((char *)space + length);
        control->cmsg_level = IPPROTO_UDP;
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(control), &size, sizeof size);
        length += CMSG_SPACE(sizeof size);
    }
    return length;
}
