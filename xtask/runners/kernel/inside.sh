# Runs the tests in the machine that `cargo verify --only kernel` boots. `given` says where things are.
. /run/exchange/given
export HOME=/tmp NO_COLOR=1 MCAST_SKIPS=/run/exchange/skips NEXTEST_HIDE_PROGRESS_BAR=1 LC_ALL=C.UTF-8
mkdir -p /dev/pts /dev/shm /dev/net /lib/modules
# What udev adds elsewhere.
ln -s /proc/self/fd /dev/fd
for each in 0/stdin 1/stdout 2/stderr; do ln -s "fd/${each%/*}" "/dev/${each#*/}"; done
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount --bind "$MODULES" /lib/modules
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/modprobe tun
# Without udev, nothing loads the drivers of devices.
/run/modprobe virtio_net
ip link set lo up
ulimit -n 65536
cd "$CHECKOUT" || exit
uname -r >/run/exchange/release
while IFS='	' read -r suite links ignored tests; do
    unset MCAST_TEST_CABLES
    [ "$links" = cables ] && export MCAST_TEST_CABLES=1
    "$NEXTEST" nextest run --profile kernel --color never --run-ignored "$ignored" \
        --binaries-metadata /run/exchange/binaries.json --cargo-metadata /run/exchange/workspace.json \
        --filterset "$tests" </dev/null >>"/run/exchange/$suite" 2>&1
done </run/exchange/tests
cut -d ' ' -f 1 /proc/uptime >/run/exchange/ended
echo b >/proc/sysrq-trigger
