# Starts a program in a network namespace with the given number of cables, each a bridge between two TAP interfaces with
# several queues: cable0a and cable0b, and so on.
set -e
cables=$1
shift
# Nothing but the network cards of the machine may send.
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
number=0
while [ "$number" -lt "$cables" ]; do
    ip link add "cable$number" type bridge mcast_snooping 0
    ip link set "cable$number" up
    for end in a b; do
        tap=cable$number$end
        ip tuntap add name "$tap" mode tap multi_queue vnet_hdr
        # A slow machine must not lose what it sends itself.
        ip link set "$tap" txqueuelen 10000 master "cable$number" up
    done
    number=$((number + 1))
done
exec "$@"
