
use builtin;
use str;

set edit:completion:arg-completer[mcast] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'mcast'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'mcast'= {
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
            cand -V 'Print version'
            cand --version 'Print version'
            cand demo 'Show on real packets what multicast does: four hosts, two groups, one switch'
            cand interfaces 'List the network interfaces, and where multicast can work'
            cand groups 'Show who on this machine has joined what'
            cand explain 'Say all that is known about multicast addresses'
            cand pick 'Choose a good group for a name'
            cand send 'Send datagrams to groups'
            cand recv 'Receive the datagrams of groups'
            cand ask 'Send one datagram and collect the answers'
            cand lab 'Run networks of virtual hosts, to try anything on real kernels'
        }
        &'mcast;demo'= {
            cand --json 'Print JSON: one object a fact'
            cand --plain 'Print neither colours nor drawn lines, only ASCII'
            cand --loopback 'Show only what the loopback interface can'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mcast;interfaces'= {
            cand --json 'Print one JSON object an interface'
            cand --watch 'Go on, and tell when interfaces appear, vanish or change'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;groups'= {
            cand -i 'Only on this interface: a name, index or address; repeatable'
            cand --interface 'Only on this interface: a name, index or address; repeatable'
            cand -a 'Also what the kernel joins by itself: all hosts, all nodes, solicited nodes'
            cand --all 'Also what the kernel joins by itself: all hosts, all nodes, solicited nodes'
            cand --json 'Print one JSON object a membership'
            cand --watch 'Go on, and tell who joins and leaves'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;explain'= {
            cand --json 'Print one JSON object a group'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;pick'= {
            cand --scope 'How far it may reach: local, organization or global; for IPv6 also interface, link, realm, admin or site'
            cand --in-use 'A group that is in use already: neither it nor what shares its Ethernet address is chosen'
            cand -6 'Choose an IPv6 group'
            cand --v6 'Choose an IPv6 group'
            cand --ssm 'Choose a source-specific group, which receivers join with a source'
            cand --json 'Print one JSON object a name'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mcast;send'= {
            cand -i 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]'
            cand --interface 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]'
            cand -t 'How many networks to cross [default: 1, this network; 0 is this host]'
            cand --ttl 'How many networks to cross [default: 1, this network; 0 is this host]'
            cand --source-port 'Send from this port'
            cand --dscp 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5'
            cand --file 'Send this file: whole, or as --lines or --chunk say'
            cand --random 'Send datagrams of so many random bytes'
            cand --chunk 'A datagram for every so many bytes'
            cand -c 'End after so many datagrams to each group; messages are repeated until then'
            cand --count 'End after so many datagrams to each group; messages are repeated until then'
            cand -W 'End after so long in all'
            cand --timeout 'End after so long in all'
            cand --every 'One each so often; without --count until Ctrl-C'
            cand --rate 'So many a second, evenly: 200kpps, or 10Mbit of payload; without --count until Ctrl-C'
            cand --no-loopback 'Keep it from receivers on this host'
            cand -4 'Take the IPv4 group of a name; refuse IPv6 groups'
            cand --ipv4 'Take the IPv4 group of a name; refuse IPv6 groups'
            cand -6 'Take the IPv6 group of a name; refuse IPv4 groups'
            cand --ipv6 'Take the IPv6 group of a name; refuse IPv4 groups'
            cand --json 'Print the summary as a JSON object on standard output'
            cand --hex 'Messages (or lines) are hexadecimal: 48656c6c6f, or "48 65 6c 6c 6f"'
            cand --lines 'A datagram a line, without its line end [default for standard input]'
            cand --whole 'One datagram with all of it [default for a file]'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;recv'= {
            cand -i 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]'
            cand --interface 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]'
            cand -s 'Admit only this source, or with a `!` before it every other; repeatable'
            cand --source 'Admit only this source, or with a `!` before it every other; repeatable'
            cand --buffer 'Ask for this much receive buffer a socket [default: 4M]'
            cand -c 'End after so many datagrams'
            cand --count 'End after so many datagrams'
            cand -W 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none'
            cand --timeout 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none'
            cand --idle 'End after so long a silence; status 1 as with --timeout'
            cand --expect 'Status 1 if fewer datagrams came; 0: none need come'
            cand --max-loss 'Status 1 if this machine dropped a larger share, such as 0.1%'
            cand --format 'How to print them: line, text, hex, raw or json, see below'
            cand --meter 'Print an asterisk for every so many bytes of payload'
            cand --exec 'Run this shell command for each: the payload is its standard input, MCAST_GROUP, MCAST_SOURCE and more are in its environment'
            cand --exec-limit 'Run at most so many commands at once; then wait'
            cand -4 'Take the IPv4 group of a name; refuse IPv6 groups'
            cand --ipv4 'Take the IPv4 group of a name; refuse IPv6 groups'
            cand -6 'Take the IPv6 group of a name; refuse IPv4 groups'
            cand --ipv6 'Take the IPv6 group of a name; refuse IPv4 groups'
            cand --any-source 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source'
            cand --follow 'Let memberships outlive interfaces that vanish, appear or change; wait for missing ones'
            cand --json 'Print one JSON object a datagram; with --discard one with the summary'
            cand --discard 'Print nothing: hold the memberships, read and count'
            cand --reply 'Send what the command prints back to the datagram''s source'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;ask'= {
            cand -W 'How long to wait for answers in all'
            cand --timeout 'How long to wait for answers in all'
            cand -c 'End after so many answers'
            cand --count 'End after so many answers'
            cand --expect 'Status 1 if fewer answer [default: 1]'
            cand -i 'Ask by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]'
            cand --interface 'Ask by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]'
            cand -t 'How many networks to cross [default: 1, this network; 0 is this host]'
            cand --ttl 'How many networks to cross [default: 1, this network; 0 is this host]'
            cand --source-port 'Ask from this port'
            cand -4 'Take the IPv4 group of a name; refuse IPv6 groups'
            cand --ipv4 'Take the IPv4 group of a name; refuse IPv6 groups'
            cand -6 'Take the IPv6 group of a name; refuse IPv4 groups'
            cand --ipv6 'Take the IPv6 group of a name; refuse IPv4 groups'
            cand --json 'Print one JSON object an answer'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;lab'= {
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand run 'Stand a network up and run the programs that its file gives its hosts'
            cand shell 'Stand a network up and open a shell on one of its hosts'
            cand on 'Run a command on another host, from within a lab''s shell'
            cand show 'Print the file of a network that comes with mcast, to start one''s own from'
            cand list 'List the networks that come with mcast'
        }
        &'mcast;lab;run'= {
            cand -W 'Stop everything after so long (as `time_limit` in the file): 500ms, 10s, 2m'
            cand --timeout 'Stop everything after so long (as `time_limit` in the file): 500ms, 10s, 2m'
            cand --json 'Print JSON: an object for each line that a program writes, and for each that starts or ends'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mcast;lab;shell'= {
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mcast;lab;on'= {
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
        }
        &'mcast;lab;show'= {
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
        &'mcast;lab;list'= {
            cand --json 'Print one JSON object a network'
            cand -q 'Print no notes: only data, errors and what fails'
            cand --quiet 'Print no notes: only data, errors and what fails'
            cand -v 'Print more notes'
            cand --verbose 'Print more notes'
            cand -h 'Print help'
            cand --help 'Print help'
        }
    ]
    $completions[$command]
}
