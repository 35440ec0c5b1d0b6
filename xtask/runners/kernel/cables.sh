# Starts a program in a network namespace with cables: each is a bridge between two TAP interfaces, cable0a and cable0b and
# so on. The first argument lists the number of queues of each.
set -e
queues=$1
shift
# Nothing but the network cards of the machine may send.
echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
number=0
for each in $queues; do
    several=
    [ "$each" = 1 ] || several=multi_queue
    ip link add "cable$number" type bridge mcast_snooping 0
    ip link set "cable$number" up
    for end in a b; do
        tap=cable$number$end
        ip tuntap add name "$tap" mode tap vnet_hdr $several
        # A slow machine must not lose what it sends itself.
        ip link set "$tap" txqueuelen 10000 master "cable$number" up
    done
    number=$((number + 1))
done
exec "$@"
