/* Receiving past the socket: an XDP program in the driver passes the frames of the groups to an AF_XDP socket.
 *
 * The kernel copies each frame once, into a slot, where the payload is read. A joined socket beside it has the kernel
 * speak IGMP. IPv4 and the first queue only, as the links of the comparison need it.
 */
#include "reference.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#define DRIVER_MODE (1U << 2) /* XDP_FLAGS_DRV_MODE */

#define SLOT_BYTES 2048
#define BYTES_PER_SLOT 512 /* of the receive buffer, as in mcast */
#define DEFAULT_BUFFER (4 << 20)
#define BATCH 64
#define TIME_BYTES 8 /* what the program leaves before a frame */

/* Offsets in a frame. */
enum { TYPE = 12, IP = 14, LENGTH = IP + 2, FRAGMENT = IP + 6, TTL = IP + 8, PROTOCOL = IP + 9,
       SOURCE = IP + 12, DESTINATION = IP + 16, UDP = IP + 20, PORT = UDP + 2, UDP_LENGTH = UDP + 4,
       CHECKSUM = UDP + 6, PAYLOAD = UDP + 8 };

/* Numbers shared with the kernel: one side produces, the other consumes. */
struct ring {
    _Atomic uint32_t *producer, *consumer;
    void *entries;
    uint32_t mask;
};

struct wire {
    int socket;
    unsigned char *slots;
    struct ring received, fill;
    uint32_t taken, lent;
};

/* A datagram where it lies, with the details that mcast reports. */
struct on_wire {
    const unsigned char *payload;
    size_t length;
    struct sockaddr_in source;
    struct arrival arrival;
};

/* Visible to other files, so that the compiler stores everything. */
struct on_wire datagrams[BATCH];

static int bpf(int command, union bpf_attr *attributes)
{
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int socket_map(void)
{
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4, .max_entries = 1};
    int descriptor = bpf(BPF_MAP_CREATE, &map);

    if (descriptor == -1)
        fail("BPF_MAP_CREATE");
    return descriptor;
}

/* The program: its instructions so far, and the jumps to where all other frames pass. */
struct code {
    struct bpf_insn all[64];
    int count;
    int passes[16];
    int pass_count;
};

static int emit(struct code *code, uint8_t what, uint8_t to, uint8_t from, int16_t offset, int32_t value)
{
    code->all[code->count] =
        (struct bpf_insn){.code = what, .dst_reg = to, .src_reg = from, .off = offset, .imm = value};
    return code->count++;
}

static void load(struct code *code, uint8_t size, uint8_t to, uint8_t from, int16_t offset)
{
    emit(code, BPF_LDX | BPF_MEM | size, to, from, offset, 0);
}

static void copy(struct code *code, uint8_t to, uint8_t from)
{
    emit(code, BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0);
}

static void pass_if(struct code *code, uint8_t condition, uint8_t left, uint8_t right, int32_t value)
{
    code->passes[code->pass_count++] = emit(code, condition, left, right, 0, value);
}

/* Passes a frame unless the field of this size has this value. */
static void expect(struct code *code, uint8_t size, int16_t offset, int32_t value)
{
    load(code, size, BPF_REG_2, BPF_REG_7, offset);
    pass_if(code, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, value);
}

/* Notes the time before the frame. */
static void stamp(struct code *code)
{
    int skips[2];

    emit(code, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns);
    copy(code, BPF_REG_9, BPF_REG_0);
    copy(code, BPF_REG_1, BPF_REG_6);
    emit(code, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, -TIME_BYTES);
    emit(code, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_xdp_adjust_meta);
    skips[0] = emit(code, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_0, 0, 0, 0);
    load(code, BPF_W, BPF_REG_7, BPF_REG_6, offsetof(struct xdp_md, data_meta));
    load(code, BPF_W, BPF_REG_8, BPF_REG_6, offsetof(struct xdp_md, data));
    copy(code, BPF_REG_2, BPF_REG_7);
    emit(code, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, TIME_BYTES);
    skips[1] = emit(code, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_2, BPF_REG_8, 0, 0);
    emit(code, BPF_STX | BPF_MEM | BPF_DW, BPF_REG_7, BPF_REG_9, 0, 0);
    for (int i = 0; i < 2; i++)
        code->all[skips[i]].off = (int16_t)(code->count - skips[i] - 1);
}

static void assemble(struct code *code, const struct work *work, const struct place *place, int map)
{
    const struct sockaddr_in *group = (const struct sockaddr_in *)&place->address;

    copy(code, BPF_REG_6, BPF_REG_1);
    load(code, BPF_W, BPF_REG_7, BPF_REG_6, offsetof(struct xdp_md, data));
    load(code, BPF_W, BPF_REG_8, BPF_REG_6, offsetof(struct xdp_md, data_end));
    copy(code, BPF_REG_2, BPF_REG_7);
    emit(code, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, PAYLOAD);
    pass_if(code, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_2, BPF_REG_8, 0);
    expect(code, BPF_H, TYPE, htons(ETH_P_IP));
    expect(code, BPF_B, IP, 0x45);
    load(code, BPF_H, BPF_REG_2, BPF_REG_7, FRAGMENT);
    emit(code, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, htons(0x3fff));
    pass_if(code, BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0);
    expect(code, BPF_B, PROTOCOL, IPPROTO_UDP);
    expect(code, BPF_H, PORT, htons(work->port));
    load(code, BPF_W, BPF_REG_2, BPF_REG_7, DESTINATION);
    emit(code, BPF_ALU | BPF_END | BPF_TO_BE, BPF_REG_2, 0, 0, 32);
    emit(code, BPF_ALU | BPF_SUB | BPF_K, BPF_REG_2, 0, 0, (int32_t)ntohl(group->sin_addr.s_addr));
    pass_if(code, BPF_JMP32 | BPF_JGE | BPF_K, BPF_REG_2, 0, (int32_t)work->groups);
    if (!work->bare)
        stamp(code);
    emit(code, BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map);
    emit(code, 0, 0, 0, 0, 0);
    load(code, BPF_W, BPF_REG_2, BPF_REG_6, offsetof(struct xdp_md, rx_queue_index));
    emit(code, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_3, 0, 0, XDP_PASS);
    emit(code, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map);
    emit(code, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (int i = 0; i < code->pass_count; i++)
        code->all[code->passes[i]].off = (int16_t)(code->count - code->passes[i] - 1);
    emit(code, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, XDP_PASS);
    emit(code, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

/* Starts the program, which ends with this process. */
static void attach(const struct work *work, const struct place *place, int map)
{
    struct code code = {.count = 0};
    union bpf_attr program = {.prog_type = BPF_PROG_TYPE_XDP, .license = (uintptr_t)"Dual MIT/GPL"};
    union bpf_attr link = {.link_create.target_ifindex = work->interface_index,
                           .link_create.attach_type = BPF_XDP,
                           .link_create.flags = DRIVER_MODE};
    int descriptor;

    assemble(&code, work, place, map);
    program.insns = (uintptr_t)code.all;
    program.insn_cnt = (uint32_t)code.count;
    descriptor = bpf(BPF_PROG_LOAD, &program);
    if (descriptor == -1)
        fail("BPF_PROG_LOAD");
    link.link_create.prog_fd = (uint32_t)descriptor;
    if (bpf(BPF_LINK_CREATE, &link) == -1)
        fail("BPF_LINK_CREATE");
}

static void set_ring(int socket_, int option, uint32_t entries)
{
    if (setsockopt(socket_, SOL_XDP, option, &entries, sizeof entries) == -1)
        fail("setsockopt for a ring");
}

static struct ring map_ring(int socket_, const struct xdp_ring_offset *offsets, off_t page, uint32_t entries,
                            size_t entry_bytes)
{
    unsigned char *start = mmap(NULL, offsets->desc + entries * entry_bytes, PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_POPULATE, socket_, page);

    if (start == MAP_FAILED)
        fail("mmap of a ring");
    return (struct ring){.producer = (_Atomic uint32_t *)(start + offsets->producer),
                         .consumer = (_Atomic uint32_t *)(start + offsets->consumer),
                         .entries = start + offsets->desc, .mask = entries - 1};
}

static void lend(struct wire *wire, uint64_t slot)
{
    ((uint64_t *)wire->fill.entries)[wire->lent++ & wire->fill.mask] = slot;
}

/* As many slots as mcast has for this receive buffer. */
static uint32_t slots_of(const struct work *work)
{
    uint32_t wanted = (uint32_t)(work->buffer ? work->buffer : DEFAULT_BUFFER) / BYTES_PER_SLOT, slots = 64;

    while (slots < wanted)
        slots *= 2;
    return slots;
}

static struct wire open_wire(const struct work *work)
{
    struct wire wire = {.socket = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0)};
    uint32_t slots = slots_of(work);
    struct xdp_umem_reg memory = {.len = (uint64_t)slots * SLOT_BYTES, .chunk_size = SLOT_BYTES};
    struct xdp_mmap_offsets offsets;
    socklen_t length = sizeof offsets;
    struct sockaddr_xdp address = {.sxdp_family = AF_XDP, .sxdp_flags = XDP_COPY,
                                   .sxdp_ifindex = work->interface_index};

    if (wire.socket == -1)
        fail("socket of AF_XDP");
    wire.slots = mmap(NULL, memory.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wire.slots == MAP_FAILED)
        fail("mmap");
    memory.addr = (uintptr_t)wire.slots;
    if (setsockopt(wire.socket, SOL_XDP, XDP_UMEM_REG, &memory, sizeof memory) == -1)
        fail("XDP_UMEM_REG");
    set_ring(wire.socket, XDP_UMEM_FILL_RING, slots);
    set_ring(wire.socket, XDP_UMEM_COMPLETION_RING, 2);
    set_ring(wire.socket, XDP_RX_RING, slots);
    if (getsockopt(wire.socket, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) == -1)
        fail("XDP_MMAP_OFFSETS");
    wire.fill = map_ring(wire.socket, &offsets.fr, (off_t)XDP_UMEM_PGOFF_FILL_RING, slots, sizeof(uint64_t));
    wire.received = map_ring(wire.socket, &offsets.rx, XDP_PGOFF_RX_RING, slots, sizeof(struct xdp_desc));
    for (uint32_t slot = 0; slot < slots; slot++)
        lend(&wire, (uint64_t)slot * SLOT_BYTES);
    atomic_store_explicit(wire.fill.producer, wire.lent, memory_order_release);
    if (bind(wire.socket, (struct sockaddr *)&address, sizeof address) == -1)
        fail("bind of AF_XDP");
    return wire;
}

static inline uint16_t word(const unsigned char *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t sum(uint32_t sum_, const unsigned char *bytes, size_t length)
{
    for (; length > 1; bytes += 2, length -= 2)
        sum_ += word(bytes);
    return length ? sum_ + (uint32_t)(bytes[0] << 8) : sum_;
}

static uint16_t fold(uint32_t sum_)
{
    while (sum_ >> 16)
        sum_ = (sum_ & 0xffff) + (sum_ >> 16);
    return (uint16_t)sum_;
}

/* Whether the kernel would accept the datagram. A veth pair leaves the sum of the pseudo-header in place of the UDP
 * checksum. */
static bool is_intact(const unsigned char *frame, size_t length)
{
    size_t total = word(frame + LENGTH), datagram = word(frame + UDP_LENGTH);
    uint16_t checksum = word(frame + CHECKSUM);
    uint32_t pseudo;

    if (length < PAYLOAD || total < PAYLOAD - IP || total > length - IP)
        return false;
    if (datagram < PAYLOAD - UDP || datagram > total - (UDP - IP) || fold(sum(0, frame + IP, UDP - IP)) != 0xffff)
        return false;
    pseudo = sum(IPPROTO_UDP + (uint32_t)datagram, frame + SOURCE, 8);
    return checksum == 0 || checksum == fold(pseudo) || fold(sum(pseudo, frame + UDP, datagram)) == 0xffff;
}

/* What is the same for all frames of a batch. */
struct now {
    int64_t clocks_apart; /* nanoseconds from CLOCK_MONOTONIC to CLOCK_REALTIME */
    uint32_t dropped;
};

static int64_t nanoseconds(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static struct now read_now(const struct wire *wire)
{
    struct xdp_statistics statistics;
    socklen_t length = sizeof statistics;

    if (getsockopt(wire->socket, SOL_XDP, XDP_STATISTICS, &statistics, &length) == -1)
        fail("XDP_STATISTICS");
    return (struct now){.clocks_apart = nanoseconds(CLOCK_REALTIME) - nanoseconds(CLOCK_MONOTONIC),
                        .dropped = (uint32_t)(statistics.rx_dropped + statistics.rx_ring_full)};
}

static void read_details(const unsigned char *frame, const struct work *work, const struct now *now_,
                         struct on_wire *datagram)
{
    struct arrival *arrival = &datagram->arrival;
    uint64_t time;

    memcpy(&time, frame - TIME_BYTES, sizeof time);
    time += (uint64_t)now_->clocks_apart;
    datagram->source = (struct sockaddr_in){.sin_family = AF_INET};
    memcpy(&datagram->source.sin_addr, frame + SOURCE, 4);
    memcpy(&datagram->source.sin_port, frame + UDP, 2);
    memcpy(&arrival->group, frame + DESTINATION, 4);
    arrival->interface = work->interface_index;
    arrival->hop_limit = frame[TTL];
    arrival->traffic_class = frame[IP + 1];
    arrival->time = (struct timespec){.tv_sec = (time_t)(time / 1000000000), .tv_nsec = (long)(time % 1000000000)};
    arrival->dropped = now_->dropped;
}

/* Reads the frames that have arrived, at most a batch; returns how many hold a datagram for us. */
static int read_frames(struct wire *wire, const struct work *work, const struct place *place, uint32_t count)
{
    struct now now_ = {0};
    int used = 0;

    if (!work->bare)
        now_ = read_now(wire);
    for (uint32_t i = 0; i < count; i++) {
        const struct xdp_desc *descriptor =
            (const struct xdp_desc *)wire->received.entries + ((wire->taken + i) & wire->received.mask);
        const unsigned char *frame = wire->slots + descriptor->addr;
        struct on_wire *datagram = &datagrams[used];

        if (!work->bare && !is_intact(frame, descriptor->len))
            continue;
        datagram->payload = frame + PAYLOAD;
        datagram->length = (size_t)word(frame + UDP_LENGTH) - (PAYLOAD - UDP);
        if (!work->bare) {
            read_details(frame, work, &now_, datagram);
            if (work->groups == 1 && !is_ours(&datagram->arrival, work, place))
                continue;
        }
        used++;
    }
    return used;
}

/* Returns the slots of frames that have been read to the kernel. */
static void release(struct wire *wire, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, wire->taken++) {
        const struct xdp_desc *descriptor =
            (const struct xdp_desc *)wire->received.entries + (wire->taken & wire->received.mask);
        lend(wire, descriptor->addr & ~(uint64_t)(SLOT_BYTES - 1));
    }
    atomic_store_explicit(wire->received.consumer, wire->taken, memory_order_release);
    atomic_store_explicit(wire->fill.producer, wire->lent, memory_order_release);
}

void receive_from_wire(const struct work *work, const struct place *place)
{
    int map = socket_map();
    uint32_t key = 0;
    struct wire wire;
    union bpf_attr entry = {.map_fd = (uint32_t)map};
    struct tally tally = {0};

    errno = EAFNOSUPPORT;
    if (is_v6(place))
        fail("AF_XDP");
    wire = open_wire(work);
    entry.key = (uintptr_t)&key;
    entry.value = (uintptr_t)&wire.socket;
    if (bpf(BPF_MAP_UPDATE_ELEM, &entry) == -1)
        fail("BPF_MAP_UPDATE_ELEM");
    attach(work, place, map);
    start_sampler(work);
    ready();
    for (;;) {
        uint32_t count = atomic_load_explicit(wire.received.producer, memory_order_acquire) - wire.taken;
        struct pollfd readable = {.fd = wire.socket, .events = POLLIN};

        if (count == 0) {
            if (!work->spin && poll(&readable, 1, -1) == -1)
                fail("poll");
            continue;
        }
        count = count < BATCH ? count : BATCH;
        int used = read_frames(&wire, work, place, count);
        for (int i = 0; i < used; i++)
            consume(&tally, datagrams[i].payload, datagrams[i].length);
        release(&wire, count);
        publish(&tally);
    }
}
