# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_mcast_global_optspecs
    string join \n q/quiet v/verbose h/help V/version
end

function __fish_mcast_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_mcast_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_mcast_using_subcommand
    set -l cmd (__fish_mcast_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c mcast -n "__fish_mcast_needs_command" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_needs_command" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_needs_command" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_needs_command" -s V -l version -d 'Print version'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "demo" -d 'Show on real packets what multicast does: four hosts, two groups, one switch'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "interfaces" -d 'List the network interfaces, and where multicast can work'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "groups" -d 'Show who on this machine has joined what'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "sniff" -d 'Show multicast packets as they cross the interfaces'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "top" -d 'Watch live streams: rates, loss, jitter, who joined'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "explain" -d 'Say all that is known about a multicast address, or about a finding of `mcast doctor`'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "pick" -d 'Choose a good group for a name'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "plan" -d 'Check a list of planned memberships'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "send" -d 'Send datagrams to groups'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "recv" -d 'Receive the datagrams of groups'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "ask" -d 'Send one datagram and collect the answers'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "publish" -d 'Publish messages that all must arrive'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "subscribe" -d 'Receive all messages of a stream'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "doctor" -d 'Find out why multicast does not arrive, and what helps'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "ping" -d 'Ping a group: who answers, how far, how fast, by multicast and by unicast'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "perf" -d 'Measure rates, loss, reordering, jitter and delays'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "record" -d 'Record the datagrams of groups into a capture file'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "querier" -d 'Show who asks hosts for their groups (IGMP, MLD), or be the one'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "replay" -d 'Send the datagrams of a capture file again, with their timing'
complete -c mcast -n "__fish_mcast_needs_command" -f -a "lab" -d 'Run networks of virtual hosts, to try anything on real kernels'
complete -c mcast -n "__fish_mcast_using_subcommand demo" -l json -d 'Print JSON: one object a fact'
complete -c mcast -n "__fish_mcast_using_subcommand demo" -l plain -d 'Print neither colours nor drawn lines, only ASCII'
complete -c mcast -n "__fish_mcast_using_subcommand demo" -l loopback -d 'Show only what the loopback interface can'
complete -c mcast -n "__fish_mcast_using_subcommand demo" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand demo" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand interfaces" -l json -d 'Print one JSON object an interface'
complete -c mcast -n "__fish_mcast_using_subcommand interfaces" -l watch -d 'Go on, and tell when interfaces appear, vanish or change'
complete -c mcast -n "__fish_mcast_using_subcommand interfaces" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand interfaces" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand interfaces" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand groups" -s i -l interface -d 'Only on this interface: a name, index or address; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand groups" -s a -l all -d 'Also what the kernel joins by itself: all hosts, all nodes, solicited nodes'
complete -c mcast -n "__fish_mcast_using_subcommand groups" -l json -d 'Print one JSON object a membership'
complete -c mcast -n "__fish_mcast_using_subcommand groups" -l watch -d 'Go on, and tell who joins and leaves'
complete -c mcast -n "__fish_mcast_using_subcommand groups" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand groups" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand groups" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s i -l interface -d 'Capture on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s s -l source -d 'Only from this source, or with a `!` before it from every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l port -d 'Only to this UDP port, or to these (`5000-5003`); repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l protocol -d 'Only this protocol: udp, igmp, mld, pim, icmp, icmpv6, tcp, or its number; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l key -d 'Open what is sealed with the secrets in this file, to decode it' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l buffer -d 'Ask for this much buffer an interface [default: 32M]' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s r -l read -d 'Read packets from this file, pcap or pcapng, instead; `-` for standard input' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s c -l count -d 'End after so many' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s W -l timeout -d 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l idle -d 'End after so long a silence; status 1 as with --timeout' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l expect -d 'Status 1 if fewer came; 0: none need come' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l max-loss -d 'Status 1 if this machine dropped a larger share, such as 0.1%' -r
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s w -l write -d 'Write them to this file: pcapng, or pcap if its name ends so; `-` for standard output' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l control -d 'Only what groups are managed with: IGMP, MLD, router discovery and PIM, about the groups named'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l streams -d 'Only datagrams of `mcast publish` and its subscribers, also those to one host: what is asked for and sent again'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l join -d 'Also join what is named, so that switches let it through, and say when it does not come'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l no-promiscuous -d 'Leave the interfaces\' own filters as they are: only what this machine has joined may come in'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l print -d 'Print a line each, also while writing to a file'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l hex -d 'Print a line each, and its bytes in hexadecimal and as text'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l json -d 'Print one JSON object a packet; with --discard one with the summary'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -l discard -d 'Print nothing: count'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand sniff" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand top" -s i -l interface -d 'Watch this interface: a name, index or address; repeatable [default: all that are up and can multicast, but not loopback]' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -s s -l source -d 'Only streams from this source, or with a `!` before it every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l seq -d 'Count loss by the number at this place of each payload, such as 0:4 or 12:2le, in bytes' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l join -d 'Also join this group or membership, so that switches let it through; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l key -d 'Open announcements and heartbeats that are sealed with the secrets in this file' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand top" -s r -l read -d 'Read a capture file, pcap or pcapng, `-` for standard input, instead of the wire' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand top" -l interval -d 'Over how long rates are told, and how often' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -s W -l timeout -d 'End after so long in all; status 1 if nothing came of what MEMBERSHIP names' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l streams -d 'Keep so many streams, and so many members; each takes about 2 KiB' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l keep -d 'Forget a stream after so long a silence' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l metrics -d 'Hand out figures for Prometheus at http://ADDRESS/metrics; without a terminal only those' -r
complete -c mcast -n "__fish_mcast_using_subcommand top" -l sort -d 'Sort by this column' -r -f -a "group\t'Group and port'
name\t'The group\'s name'
source\t'The sender'
interface\t'Where it comes in'
datagrams\t'Datagrams a second'
bits\t'Bits of payload a second'
loss\t'The share that is missing'
trend\t'The rate in the latest intervals'
ttl\t'The TTL or hop limit left'
jitter\t'How unevenly it comes'
payload\t'What it carries'
joined\t'Who has joined'"
complete -c mcast -n "__fish_mcast_using_subcommand top" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand top" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand top" -l announced -d 'Also join where `mcast publish --announce` tells of streams'
complete -c mcast -n "__fish_mcast_using_subcommand top" -l once -d 'Print one table after the time of --timeout, or of --interval, and end'
complete -c mcast -n "__fish_mcast_using_subcommand top" -l json -d 'Print JSON objects: streams, queriers, routers, members, a summary, at each interval'
complete -c mcast -n "__fish_mcast_using_subcommand top" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand top" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand explain" -l findings -d 'List the findings, each with its sentence'
complete -c mcast -n "__fish_mcast_using_subcommand explain" -l json -d 'Print one JSON object a group or finding'
complete -c mcast -n "__fish_mcast_using_subcommand explain" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand explain" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand explain" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand pick" -l scope -d 'How far it may reach: local, organization or global; for IPv6 also interface, link, realm, admin or site' -r
complete -c mcast -n "__fish_mcast_using_subcommand pick" -l in-use -d 'A group that is in use already: neither it nor what shares its Ethernet address is chosen' -r
complete -c mcast -n "__fish_mcast_using_subcommand pick" -s 6 -l v6 -d 'Choose an IPv6 group'
complete -c mcast -n "__fish_mcast_using_subcommand pick" -l ssm -d 'Choose a source-specific group, which receivers join with a source'
complete -c mcast -n "__fish_mcast_using_subcommand pick" -l json -d 'Print one JSON object a name'
complete -c mcast -n "__fish_mcast_using_subcommand pick" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand pick" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand pick" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand plan" -l strict -d 'Status 1 for warnings, too'
complete -c mcast -n "__fish_mcast_using_subcommand plan" -l json -d 'Print one JSON object a finding'
complete -c mcast -n "__fish_mcast_using_subcommand plan" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand plan" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand plan" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand send" -s i -l interface -d 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -s t -l ttl -d 'How many networks to cross [default: 1, this network; 0 is this host]' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l source-port -d 'Send from this port' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l dscp -d 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l file -d 'Send this file: whole, or as --lines or --chunk say' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand send" -l random -d 'Send datagrams of so many random bytes' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l chunk -d 'A datagram for every so many bytes' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -s c -l count -d 'End after so many datagrams to each group; messages are repeated until then' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -s W -l timeout -d 'End after so long in all' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l every -d 'One each so often; without --count until Ctrl-C' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l rate -d 'So many a second, evenly: 200kpps, or 10Mbit of payload; without --count until Ctrl-C' -r
complete -c mcast -n "__fish_mcast_using_subcommand send" -l no-loopback -d 'Keep it from receivers on this host'
complete -c mcast -n "__fish_mcast_using_subcommand send" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand send" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand send" -l json -d 'Print the summary as a JSON object on standard output'
complete -c mcast -n "__fish_mcast_using_subcommand send" -l hex -d 'Messages (or lines) are hexadecimal: 48656c6c6f, or "48 65 6c 6c 6f"'
complete -c mcast -n "__fish_mcast_using_subcommand send" -l lines -d 'A datagram a line, without its line end [default for standard input]'
complete -c mcast -n "__fish_mcast_using_subcommand send" -l whole -d 'One datagram with all of it [default for a file]'
complete -c mcast -n "__fish_mcast_using_subcommand send" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand send" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand send" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s i -l interface -d 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s s -l source -d 'Admit only this source, or with a `!` before it every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l buffer -d 'Ask for this much receive buffer a socket [default: 4M]' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s c -l count -d 'End after so many' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s W -l timeout -d 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l idle -d 'End after so long a silence; status 1 as with --timeout' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l expect -d 'Status 1 if fewer came; 0: none need come' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l max-loss -d 'Status 1 if this machine dropped a larger share, such as 0.1%' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l format -d 'How to print them: line, text, hex, raw or json, see below' -r -f -a "line\t'One tidy line a datagram'
text\t'The payload alone, a line each'
hex\t'A line, and the payload in hexadecimal'
raw\t'The payload\'s bytes and nothing else'
json\t'One JSON object a datagram'"
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l meter -d 'Print an asterisk for every so many bytes of payload' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l exec -d 'Run this shell command for each: the payload is its standard input, MCAST_GROUP, MCAST_SOURCE and more are in its environment' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l exec-limit -d 'Run at most so many commands at once; then wait' -r
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l any-source -d 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l follow -d 'Let memberships outlive interfaces that vanish, appear or change; wait for missing ones'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l json -d 'Print one JSON object a datagram; with --discard one with the summary'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l discard -d 'Print nothing: hold the memberships, read and count'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -l reply -d 'Send what the command prints back to the datagram\'s source'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand recv" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s W -l timeout -d 'How long to wait for answers in all' -r
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s c -l count -d 'End after so many answers' -r
complete -c mcast -n "__fish_mcast_using_subcommand ask" -l expect -d 'Status 1 if fewer answer [default: 1]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s i -l interface -d 'Ask by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s t -l ttl -d 'How many networks to cross [default: 1, this network; 0 is this host]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ask" -l source-port -d 'Ask from this port' -r
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand ask" -l json -d 'Print one JSON object an answer'
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand ask" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l path -d 'Publish to this group, too: who hears several takes what comes first; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s i -l interface -d 'Leave by this interface: a name, index or address [default: the route to the group]' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s t -l ttl -d 'How many networks to cross [default: 1, this network]' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l name -d 'The stream\'s name: a publisher that starts again goes on with it [default: a new stream]' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l announce -d 'Tell this name every second, so that `mcast subscribe NAME` finds the stream; it is the stream\'s own name, too, unless --name gives another' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l snapshot -d 'For `mcast subscribe --from snapshot`: the state is the content of this file, or else what this shell command prints, at the time it is asked for; it must have all that was published until then' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l snapshot-port -d 'Serve snapshots at this TCP port, for a firewall that must know it [default: any that is free]' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l rate -d 'So many messages a second, evenly (`1000pps`), or so much on the wire (`10Mbit`)' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l history -d 'Keep so much for repairs and for those who come late [default: 8M]' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l flow -d 'For whom to wait: `slowest` receiver, or `none`' -r -f -a "slowest\t'For the slowest receiver, as long as it gets on'
none\t'For nobody'"
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l evict-after -d 'Wait no longer for a receiver that has kept the others waiting for so long without getting on: a subscriber whose command takes its time, say [default: 2s]' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l key -d 'Seal with the secrets of this file; a hang-up (SIGHUP) reads it again' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l new-key -d 'Make this file, with a new secret, and seal with it' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l wait-for -d 'Begin when so many receivers are there; who asks for no repairs (best-effort) is not seen' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l linger -d 'At the end, wait for so long at most until all that listen have everything' -r
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l no-loopback -d 'Keep it from receivers on this host'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l lines -d 'A message a line of standard input, without its line end [default]'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l records -d 'Records of standard input: four bytes of length, the greatest first, then the message'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l files -d 'The words are names of files, and each file is a message'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l keyed -d 'The first word of a message says what it is about: who wants the latest of each (`subscribe --policy latest`) goes by that'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -l json -d 'Print the closing report as a JSON object on standard output'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand publish" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l path -d 'Hear it on this membership, too, and take what comes first; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s i -l interface -d 'Join on this interface: a name, index or address [default: all that are up and can multicast]' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s s -l source -d 'Admit only this source, or with a `!` before it every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l name -d 'Only the stream of this name [default: the first that is heard]' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l from -d 'From where on: `now`, the `oldest` that can still be had, or a `snapshot` of the state and what follows' -r -f -a "now\t'With what is published from now on'
oldest\t'With the oldest that can still be had'
snapshot\t'With the state as its publisher has it (`publish --snapshot`), and what follows'"
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l policy -d 'What to do about gaps: `reliable`, `deadline=50ms`, `best-effort` or `latest`' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l on-loss -d 'What comes after a loss that nothing repairs: `continue` behind it, a fresh `snapshot`, or `stop`; goes with `reliable` [default: snapshot with --from snapshot, else continue]' -r -f -a "continue\t'The messages behind it'
snapshot\t'A fresh snapshot, and the messages behind that'
stop\t'Nothing more'"
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l key -d 'Open with the secrets of this file' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l buffer -d 'Ask for this much receive buffer [default: 4M]' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s c -l count -d 'End after so many' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s W -l timeout -d 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l idle -d 'End after so long a silence; status 1 as with --timeout' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l expect -d 'Status 1 if fewer came; 0: none need come' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l max-loss -d 'Status 1 if this machine dropped a larger share, such as 0.1%' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l exec -d 'Run this shell command for each, one after the other: the message is its standard input, MCAST_STREAM, MCAST_SEQUENCE and MCAST_LENGTH are in its environment, of a snapshot MCAST_SNAPSHOT=1' -r
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l stay -d 'Stay when the stream has ended, for its publisher\'s next life'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l raw -d 'Print the messages\' bytes and nothing else, not even line ends'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l records -d 'Print records: four bytes of length, the greatest first, then the message'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -l json -d 'Print one JSON object a message, and one an event'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand subscribe" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s i -l interface -d 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast]' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s s -l source -d 'Admit only this source, or with a `!` before it every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l pid -d 'At the sockets of this process' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l port -d 'At the sockets of whoever has this UDP port open' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s r -l read -d 'At a capture file, pcap or pcapng' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s t -l ttl -d 'How many networks to cross at most [default: 1, this network]' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s c -l count -d 'Probes of each size and hop limit' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s W -l timeout -d 'Listen for so long [default: 5s; with --listen until Ctrl-C]' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l every -d 'With --watch: look each so often' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l metrics -d 'With --watch: hand out figures for Prometheus at http://ADDRESS/metrics' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l apply -d 'Apply the remedy of this finding, after asking, and look again' -r
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l listen -d 'Hear the probes of another machine and answer them, until Ctrl-C; without a group on two that both machines choose alike, one IPv4, one IPv6'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l probe -d 'Probe the path to all who listen: which sizes, hop limits and families arrive'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l soak -d 'Listen until memberships that nobody asks for have run out (275 s)'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l watch -d 'Look again and again, and tell what is new and what is gone, until Ctrl-C'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l strict -d 'Status 1 also for warnings'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l yes -d 'Don\'t ask'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -l json -d 'Print one JSON object a finding, and a verdict at the end'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s i -l interface -d 'By this interface: a name, index or address, or `all`; repeatable [default: the route to the group; with --reply all]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s t -l ttl -d 'How many networks to cross [default: 1, this network; 0 is this host]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l dscp -d 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s s -l source -d 'Admit only this source, or with a `!` before it every other; repeatable; with --reply' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l size -d 'Bytes of payload a probe, from 56; answers are as long' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s c -l count -d 'End after so many probes [default: until Ctrl-C]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l every -d 'A probe each so often, from 10ms' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s W -l timeout -d 'End after so long in all' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l wait -d 'Wait for an answer for so long' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l expect -d 'Status 1 if fewer answer [default: 1]' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l max-loss -d 'Status 1 if by multicast a larger share is lost to one of them' -r
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l reply -d 'Answer the pings of others, until Ctrl-C'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -l json -d 'Print one JSON object a responder'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand ping" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and not __fish_seen_subcommand_from recv send" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and not __fish_seen_subcommand_from recv send" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and not __fish_seen_subcommand_from recv send" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and not __fish_seen_subcommand_from recv send" -f -a "recv" -d 'Count what `mcast perf send` sends, and report it'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and not __fish_seen_subcommand_from recv send" -f -a "send" -d 'Send numbered datagrams, and tell what receivers report'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s i -l interface -d 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s s -l source -d 'Admit only this source, or with a `!` before it every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l buffer -d 'Ask for this much receive buffer a socket [default: 4M]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s c -l count -d 'End after so many runs' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s W -l timeout -d 'End after so long in all; status 1 if no run has ended by then' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l idle -d 'A sender that is silent for so long has ended, its last message having been lost' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l expect -d 'Status 1 if fewer datagrams came' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l max-loss -d 'Status 1 if a larger share was lost, such as 0.1%' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l key -d 'Open what is sealed with the secrets in this file' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l any-source -d 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l no-gro -d 'Take datagrams as they come, not merged by the system'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l reply -d 'Answer the pings of `mcast perf send --latency`'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l spin -d 'Wait for them awake: shorter delays, for a processor\'s time'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l json -d 'Print a JSON object a run, and nothing each second'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l keep -d 'Don\'t end: count run after run until Ctrl-C'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -l stream -d 'Receive the messages of `mcast perf send --stream`, and check each'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from recv" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s i -l interface -d 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s t -l ttl -d 'How many networks to cross [default: 1, this network; 0 is this host]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l dscp -d 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l size -d 'Bytes of payload a datagram, from 32 [default: 1400; with --latency 64]; with --stream of a message, from 40 [default: 1344]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l duration -d 'How long to send; with --sweep at each rate [default: 10s; with --sweep 1s]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s c -l count -d 'End after so many datagrams to each group, or so many pings' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l rate -d 'So many a second in all, evenly: 200kpps, or 10Mbit of payload; with --sweep where to begin [default: as fast as it goes; with --sweep 1000pps]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l streams -d 'So many streams to each group, a socket and a thread each' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l expect -d 'Status 1 if fewer receivers report; with --stream begin when so many are there [there: 1]' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l max-loss -d 'Status 1 if a receiver, or a ping-pong, lost a larger share; with --sweep what may be lost' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l key -d 'Seal them with the secrets in this file' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l history -d 'Keep so much for repairs' -r
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l no-loopback -d 'Keep it from receivers on this host'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l no-gso -d 'Hand datagrams to the system one by one, not in trains (UDP GSO)'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l json -d 'Print JSON objects, and nothing each second'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l sweep -d 'Raise the rate until loss starts; say where that is, and which counter shows it'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l latency -d 'Play ping-pong with one `mcast perf recv --reply`: how long does a datagram take?'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l spin -d 'Wait for each pong awake: shorter delays, for a processor\'s time'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -l stream -d 'Publish messages, which must all arrive, to `mcast perf recv --stream`'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand perf; and __fish_seen_subcommand_from send" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand record" -s i -l interface -d 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -s s -l source -d 'Admit only this source, or with a `!` before it every other; repeatable' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -l buffer -d 'Ask for this much receive buffer an interface [default: 8M; with --via sockets 4M a socket]' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -l via -d 'Where datagrams are taken: wire, sockets or auto, see below' -r -f -a "auto\t'From the wire where that is allowed, else from sockets'
wire\t'From the wire, frames as they are'
sockets\t'From sockets, headers made up'"
complete -c mcast -n "__fish_mcast_using_subcommand record" -s w -l write -d 'The capture file, in pcapng; `-` is standard output. With --rotate NAME.pcapng becomes NAME_00001_20260131120000.pcapng and so on: a number, and when it begins (UTC)' -r -F
complete -c mcast -n "__fish_mcast_using_subcommand record" -l rotate -d 'Begin another file before this one grows beyond a size (100MB) or an age (60s, 1h), or whichever comes first (100MB,1h); a signal SIGHUP begins another, too' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -l keep -d 'Keep so many files, also of runs before, and delete the oldest' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -s c -l count -d 'End after so many' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -s W -l timeout -d 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -l idle -d 'End after so long a silence; status 1 as with --timeout' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -l expect -d 'Status 1 if fewer came; 0: none need come' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -l max-loss -d 'Status 1 if this machine dropped a larger share, such as 0.1%' -r
complete -c mcast -n "__fish_mcast_using_subcommand record" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand record" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand record" -l any-source -d 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source'
complete -c mcast -n "__fish_mcast_using_subcommand record" -l follow -d 'Let memberships outlive interfaces that vanish, appear or change; wait for missing ones'
complete -c mcast -n "__fish_mcast_using_subcommand record" -l force -d 'Overwrite the file if it is there'
complete -c mcast -n "__fish_mcast_using_subcommand record" -l json -d 'Print one JSON object for each file that is complete, and one with the summary'
complete -c mcast -n "__fish_mcast_using_subcommand record" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand record" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand record" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s i -l interface -d 'On this interface: a name, index or address; repeatable [default: all that are up and can multicast, but not loopback]' -r
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s W -l timeout -d 'End after so long [default: when a querier is known wherever one is needed, or after 130s]' -r
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l query-interval -d 'Ask each so often' -r
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l response-interval -d 'Give hosts so long to answer' -r
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l robustness -d 'Let so many messages in a row be lost, less one' -r
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s 4 -l ipv4 -d 'Take the IPv4 group of a name; refuse IPv6 groups'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s 6 -l ipv6 -d 'Take the IPv6 group of a name; refuse IPv4 groups'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l follow -d 'Go on until Ctrl-C, and tell each query'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l ask -d 'Do not wait for the next query: join a group that nobody uses and leave it again, which most queriers answer with a query within a second'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l json -d 'Print one JSON object for each event, and one for each querier'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l become -d 'Ask, as long as nobody with a lower address does; needs -i, and CAP_NET_RAW'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -l older -d 'Ask in IGMPv2 and MLDv1, for switches and routers that know no other'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand querier" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l map -d 'Send to another group or port: FROM=TO, each `GROUP:PORT`, `GROUP` or `:PORT`, and TO also `GROUP%INTERFACE:PORT`; repeatable, the first that fits counts' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s i -l interface -d 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s t -l ttl -d 'How many networks to cross, or `recorded` for what each datagram had left [default: 1, this network; 0 is this host]' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l speed -d 'So many times as fast as it was recorded: 2, or 0.5' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l rate -d 'So many a second, evenly, whenever they were recorded: 200kpps, or 10Mbit of payload' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l max-gap -d 'No silence longer than this' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l loop -d 'Send the file so many times, one after the other; 0: until Ctrl-C' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s c -l count -d 'End after so many datagrams' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s W -l timeout -d 'End after so long in all' -r
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l no-loopback -d 'Keep it from receivers on this host'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l json -d 'Print the summary as a JSON object on standard output'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l flat-out -d 'As fast as it goes'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l txtime -d 'Hand each datagram to the kernel ahead of its time, which the interface\'s queue discipline (fq, etf) keeps; without one of these it fails (Linux)'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -l measure -d 'Capture what leaves, and tell by how much the kernel\'s times differ from those that were due; needs CAP_NET_RAW'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand replay" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -f -a "run" -d 'Stand a network up and run the programs that its file gives its hosts'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -f -a "shell" -d 'Stand a network up and open a shell on one of its hosts'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -f -a "on" -d 'Run a command on another host, from within a lab\'s shell'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -f -a "show" -d 'Print the file of a network that comes with mcast, to start one\'s own from'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and not __fish_seen_subcommand_from run shell on show list" -f -a "list" -d 'List the networks that come with mcast'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from run" -s W -l timeout -d 'Stop everything after so long (as `time_limit` in the file): 500ms, 10s, 2m' -r
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from run" -l json -d 'Print JSON: an object for each line that a program writes, and for each that starts or ends'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from shell" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from shell" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from shell" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from on" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from on" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from on" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from list" -l json -d 'Print one JSON object a network'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Print no notes: only data, errors and what fails'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Print more notes'
complete -c mcast -n "__fish_mcast_using_subcommand lab; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
