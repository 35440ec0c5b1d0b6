
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'mcast' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'mcast'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'mcast' {
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('demo', 'demo', [CompletionResultType]::ParameterValue, 'Show on real packets what multicast does: four hosts, two groups, one switch')
            [CompletionResult]::new('interfaces', 'interfaces', [CompletionResultType]::ParameterValue, 'List the network interfaces, and where multicast can work')
            [CompletionResult]::new('groups', 'groups', [CompletionResultType]::ParameterValue, 'Show who on this machine has joined what')
            [CompletionResult]::new('explain', 'explain', [CompletionResultType]::ParameterValue, 'Say all that is known about a multicast address, or about a finding of `mcast doctor`')
            [CompletionResult]::new('pick', 'pick', [CompletionResultType]::ParameterValue, 'Choose a good group for a name')
            [CompletionResult]::new('send', 'send', [CompletionResultType]::ParameterValue, 'Send datagrams to groups')
            [CompletionResult]::new('recv', 'recv', [CompletionResultType]::ParameterValue, 'Receive the datagrams of groups')
            [CompletionResult]::new('ask', 'ask', [CompletionResultType]::ParameterValue, 'Send one datagram and collect the answers')
            [CompletionResult]::new('doctor', 'doctor', [CompletionResultType]::ParameterValue, 'Find out why multicast does not arrive, and what helps')
            [CompletionResult]::new('ping', 'ping', [CompletionResultType]::ParameterValue, 'Ping a group: who answers, how far, how fast, by multicast and by unicast')
            [CompletionResult]::new('perf', 'perf', [CompletionResultType]::ParameterValue, 'Measure rates, loss, reordering, jitter and delays')
            [CompletionResult]::new('record', 'record', [CompletionResultType]::ParameterValue, 'Record the datagrams of groups into a capture file')
            [CompletionResult]::new('lab', 'lab', [CompletionResultType]::ParameterValue, 'Run networks of virtual hosts, to try anything on real kernels')
            break
        }
        'mcast;demo' {
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: one object a fact')
            [CompletionResult]::new('--plain', '--plain', [CompletionResultType]::ParameterName, 'Print neither colours nor drawn lines, only ASCII')
            [CompletionResult]::new('--loopback', '--loopback', [CompletionResultType]::ParameterName, 'Show only what the loopback interface can')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mcast;interfaces' {
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object an interface')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Go on, and tell when interfaces appear, vanish or change')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;groups' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Only on this interface: a name, index or address; repeatable')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Only on this interface: a name, index or address; repeatable')
            [CompletionResult]::new('-a', '-a', [CompletionResultType]::ParameterName, 'Also what the kernel joins by itself: all hosts, all nodes, solicited nodes')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Also what the kernel joins by itself: all hosts, all nodes, solicited nodes')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a membership')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Go on, and tell who joins and leaves')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;explain' {
            [CompletionResult]::new('--findings', '--findings', [CompletionResultType]::ParameterName, 'List the findings, each with its sentence')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a group or finding')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;pick' {
            [CompletionResult]::new('--scope', '--scope', [CompletionResultType]::ParameterName, 'How far it may reach: local, organization or global; for IPv6 also interface, link, realm, admin or site')
            [CompletionResult]::new('--in-use', '--in-use', [CompletionResultType]::ParameterName, 'A group that is in use already: neither it nor what shares its Ethernet address is chosen')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Choose an IPv6 group')
            [CompletionResult]::new('--v6', '--v6', [CompletionResultType]::ParameterName, 'Choose an IPv6 group')
            [CompletionResult]::new('--ssm', '--ssm', [CompletionResultType]::ParameterName, 'Choose a source-specific group, which receivers join with a source')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a name')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mcast;send' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--source-port', '--source-port', [CompletionResultType]::ParameterName, 'Send from this port')
            [CompletionResult]::new('--dscp', '--dscp', [CompletionResultType]::ParameterName, 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5')
            [CompletionResult]::new('--file', '--file', [CompletionResultType]::ParameterName, 'Send this file: whole, or as --lines or --chunk say')
            [CompletionResult]::new('--random', '--random', [CompletionResultType]::ParameterName, 'Send datagrams of so many random bytes')
            [CompletionResult]::new('--chunk', '--chunk', [CompletionResultType]::ParameterName, 'A datagram for every so many bytes')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many datagrams to each group; messages are repeated until then')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many datagrams to each group; messages are repeated until then')
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'End after so long in all')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'End after so long in all')
            [CompletionResult]::new('--every', '--every', [CompletionResultType]::ParameterName, 'One each so often; without --count until Ctrl-C')
            [CompletionResult]::new('--rate', '--rate', [CompletionResultType]::ParameterName, 'So many a second, evenly: 200kpps, or 10Mbit of payload; without --count until Ctrl-C')
            [CompletionResult]::new('--no-loopback', '--no-loopback', [CompletionResultType]::ParameterName, 'Keep it from receivers on this host')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print the summary as a JSON object on standard output')
            [CompletionResult]::new('--hex', '--hex', [CompletionResultType]::ParameterName, 'Messages (or lines) are hexadecimal: 48656c6c6f, or "48 65 6c 6c 6f"')
            [CompletionResult]::new('--lines', '--lines', [CompletionResultType]::ParameterName, 'A datagram a line, without its line end [default for standard input]')
            [CompletionResult]::new('--whole', '--whole', [CompletionResultType]::ParameterName, 'One datagram with all of it [default for a file]')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;recv' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--buffer', '--buffer', [CompletionResultType]::ParameterName, 'Ask for this much receive buffer a socket [default: 4M]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many')
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none')
            [CompletionResult]::new('--idle', '--idle', [CompletionResultType]::ParameterName, 'End after so long a silence; status 1 as with --timeout')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Status 1 if fewer came; 0: none need come')
            [CompletionResult]::new('--max-loss', '--max-loss', [CompletionResultType]::ParameterName, 'Status 1 if this machine dropped a larger share, such as 0.1%')
            [CompletionResult]::new('--format', '--format', [CompletionResultType]::ParameterName, 'How to print them: line, text, hex, raw or json, see below')
            [CompletionResult]::new('--meter', '--meter', [CompletionResultType]::ParameterName, 'Print an asterisk for every so many bytes of payload')
            [CompletionResult]::new('--exec', '--exec', [CompletionResultType]::ParameterName, 'Run this shell command for each: the payload is its standard input, MCAST_GROUP, MCAST_SOURCE and more are in its environment')
            [CompletionResult]::new('--exec-limit', '--exec-limit', [CompletionResultType]::ParameterName, 'Run at most so many commands at once; then wait')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--any-source', '--any-source', [CompletionResultType]::ParameterName, 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Let memberships outlive interfaces that vanish, appear or change; wait for missing ones')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a datagram; with --discard one with the summary')
            [CompletionResult]::new('--discard', '--discard', [CompletionResultType]::ParameterName, 'Print nothing: hold the memberships, read and count')
            [CompletionResult]::new('--reply', '--reply', [CompletionResultType]::ParameterName, 'Send what the command prints back to the datagram''s source')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;ask' {
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'How long to wait for answers in all')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'How long to wait for answers in all')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many answers')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many answers')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Status 1 if fewer answer [default: 1]')
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Ask by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Ask by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--source-port', '--source-port', [CompletionResultType]::ParameterName, 'Ask from this port')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object an answer')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;doctor' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--pid', '--pid', [CompletionResultType]::ParameterName, 'At the sockets of this process')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'At the sockets of whoever has this UDP port open')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'At a capture file, pcap or pcapng')
            [CompletionResult]::new('--read', '--read', [CompletionResultType]::ParameterName, 'At a capture file, pcap or pcapng')
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'Listen for so long')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Listen for so long')
            [CompletionResult]::new('--every', '--every', [CompletionResultType]::ParameterName, 'With --watch: look each so often')
            [CompletionResult]::new('--apply', '--apply', [CompletionResultType]::ParameterName, 'Apply the remedy of this finding, after asking, and look again')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--soak', '--soak', [CompletionResultType]::ParameterName, 'Listen until memberships that nobody asks for have run out (275 s)')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Look again and again, and tell what is new and what is gone, until Ctrl-C')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Status 1 also for warnings')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Don''t ask')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a finding, and a verdict at the end')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;ping' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'By this interface: a name, index or address, or `all`; repeatable [default: the route to the group; with --reply all]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'By this interface: a name, index or address, or `all`; repeatable [default: the route to the group; with --reply all]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--dscp', '--dscp', [CompletionResultType]::ParameterName, 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable; with --reply')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable; with --reply')
            [CompletionResult]::new('--size', '--size', [CompletionResultType]::ParameterName, 'Bytes of payload a probe, from 56; answers are as long')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many probes [default: until Ctrl-C]')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many probes [default: until Ctrl-C]')
            [CompletionResult]::new('--every', '--every', [CompletionResultType]::ParameterName, 'A probe each so often, from 10ms')
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'End after so long in all')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'End after so long in all')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Wait for an answer for so long')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Status 1 if fewer answer [default: 1]')
            [CompletionResult]::new('--max-loss', '--max-loss', [CompletionResultType]::ParameterName, 'Status 1 if by multicast a larger share is lost to one of them')
            [CompletionResult]::new('--reply', '--reply', [CompletionResultType]::ParameterName, 'Answer the pings of others, until Ctrl-C')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a responder')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;perf' {
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('recv', 'recv', [CompletionResultType]::ParameterValue, 'Count what `mcast perf send` sends, and report it')
            [CompletionResult]::new('send', 'send', [CompletionResultType]::ParameterValue, 'Send numbered datagrams, and tell what receivers report')
            break
        }
        'mcast;perf;recv' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--buffer', '--buffer', [CompletionResultType]::ParameterName, 'Ask for this much receive buffer a socket [default: 4M]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many runs')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many runs')
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'End after so long in all; status 1 if no run has ended by then')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'End after so long in all; status 1 if no run has ended by then')
            [CompletionResult]::new('--idle', '--idle', [CompletionResultType]::ParameterName, 'A sender that is silent for so long has ended, its last message having been lost')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Status 1 if fewer datagrams came')
            [CompletionResult]::new('--max-loss', '--max-loss', [CompletionResultType]::ParameterName, 'Status 1 if a larger share was lost, such as 0.1%')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--any-source', '--any-source', [CompletionResultType]::ParameterName, 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source')
            [CompletionResult]::new('--no-gro', '--no-gro', [CompletionResultType]::ParameterName, 'Take datagrams as they come, not merged by the system')
            [CompletionResult]::new('--reply', '--reply', [CompletionResultType]::ParameterName, 'Answer the pings of `mcast perf send --latency`')
            [CompletionResult]::new('--spin', '--spin', [CompletionResultType]::ParameterName, 'Wait for them awake: shorter delays, for a processor''s time')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print a JSON object a run, and nothing each second')
            [CompletionResult]::new('--keep', '--keep', [CompletionResultType]::ParameterName, 'Don''t end: count run after run until Ctrl-C')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;perf;send' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Leave by this interface: a name, index or address, or `all`; repeatable [default: the route to the group]')
            [CompletionResult]::new('-t', '-t', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--ttl', '--ttl', [CompletionResultType]::ParameterName, 'How many networks to cross [default: 1, this network; 0 is this host]')
            [CompletionResult]::new('--dscp', '--dscp', [CompletionResultType]::ParameterName, 'Mark for differentiated service: 0 to 63, or a name such as EF, AF41, CS5')
            [CompletionResult]::new('--size', '--size', [CompletionResultType]::ParameterName, 'Bytes of payload a datagram, from 32 [default: 1400; with --latency 64]')
            [CompletionResult]::new('--duration', '--duration', [CompletionResultType]::ParameterName, 'How long to send; with --sweep at each rate [default: 10s; with --sweep 1s]')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many datagrams to each group, or so many pings')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many datagrams to each group, or so many pings')
            [CompletionResult]::new('--rate', '--rate', [CompletionResultType]::ParameterName, 'So many a second in all, evenly: 200kpps, or 10Mbit of payload; with --sweep where to begin [default: as fast as it goes; with --sweep 1000pps]')
            [CompletionResult]::new('--streams', '--streams', [CompletionResultType]::ParameterName, 'So many streams to each group, a socket and a thread each')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Status 1 if fewer receivers report')
            [CompletionResult]::new('--max-loss', '--max-loss', [CompletionResultType]::ParameterName, 'Status 1 if a receiver, or a ping-pong, lost a larger share; with --sweep what may be lost')
            [CompletionResult]::new('--no-loopback', '--no-loopback', [CompletionResultType]::ParameterName, 'Keep it from receivers on this host')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--no-gso', '--no-gso', [CompletionResultType]::ParameterName, 'Hand datagrams to the system one by one, not in trains (UDP GSO)')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON objects, and nothing each second')
            [CompletionResult]::new('--sweep', '--sweep', [CompletionResultType]::ParameterName, 'Raise the rate until loss starts; say where that is, and which counter shows it')
            [CompletionResult]::new('--latency', '--latency', [CompletionResultType]::ParameterName, 'Play ping-pong with one `mcast perf recv --reply`: how long does a datagram take?')
            [CompletionResult]::new('--spin', '--spin', [CompletionResultType]::ParameterName, 'Wait for each pong awake: shorter delays, for a processor''s time')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;record' {
            [CompletionResult]::new('-i', '-i', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]')
            [CompletionResult]::new('--interface', '--interface', [CompletionResultType]::ParameterName, 'Join on this interface: a name, index or address, `default` or `all`; repeatable [default: all that are up and can multicast, but not loopback]')
            [CompletionResult]::new('-s', '-s', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--source', '--source', [CompletionResultType]::ParameterName, 'Admit only this source, or with a `!` before it every other; repeatable')
            [CompletionResult]::new('--buffer', '--buffer', [CompletionResultType]::ParameterName, 'Ask for this much receive buffer an interface [default: 8M; with --via sockets 4M a socket]')
            [CompletionResult]::new('--via', '--via', [CompletionResultType]::ParameterName, 'Where datagrams are taken: wire, sockets or auto, see below')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'The capture file, in pcapng; `-` is standard output. With --rotate NAME.pcapng becomes NAME_00001_20260131120000.pcapng and so on: a number, and when it begins (UTC)')
            [CompletionResult]::new('--write', '--write', [CompletionResultType]::ParameterName, 'The capture file, in pcapng; `-` is standard output. With --rotate NAME.pcapng becomes NAME_00001_20260131120000.pcapng and so on: a number, and when it begins (UTC)')
            [CompletionResult]::new('--rotate', '--rotate', [CompletionResultType]::ParameterName, 'Begin another file before this one grows beyond a size (100MB) or an age (60s, 1h), or whichever comes first (100MB,1h); a signal SIGHUP begins another, too')
            [CompletionResult]::new('--keep', '--keep', [CompletionResultType]::ParameterName, 'Keep so many files, also of runs before, and delete the oldest')
            [CompletionResult]::new('-c', '-c', [CompletionResultType]::ParameterName, 'End after so many')
            [CompletionResult]::new('--count', '--count', [CompletionResultType]::ParameterName, 'End after so many')
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'End after so long in all; status 1 if fewer came than --count or --expect ask for, or none')
            [CompletionResult]::new('--idle', '--idle', [CompletionResultType]::ParameterName, 'End after so long a silence; status 1 as with --timeout')
            [CompletionResult]::new('--expect', '--expect', [CompletionResultType]::ParameterName, 'Status 1 if fewer came; 0: none need come')
            [CompletionResult]::new('--max-loss', '--max-loss', [CompletionResultType]::ParameterName, 'Status 1 if this machine dropped a larger share, such as 0.1%')
            [CompletionResult]::new('-4', '-4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('--ipv4', '--ipv4', [CompletionResultType]::ParameterName, 'Take the IPv4 group of a name; refuse IPv6 groups')
            [CompletionResult]::new('-6', '-6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--ipv6', '--ipv6', [CompletionResultType]::ParameterName, 'Take the IPv6 group of a name; refuse IPv4 groups')
            [CompletionResult]::new('--any-source', '--any-source', [CompletionResultType]::ParameterName, 'Join a source-specific group (232.0.0.0/8, ff3x::/96) without naming a source')
            [CompletionResult]::new('--follow', '--follow', [CompletionResultType]::ParameterName, 'Let memberships outlive interfaces that vanish, appear or change; wait for missing ones')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Overwrite the file if it is there')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object for each file that is complete, and one with the summary')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;lab' {
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('run', 'run', [CompletionResultType]::ParameterValue, 'Stand a network up and run the programs that its file gives its hosts')
            [CompletionResult]::new('shell', 'shell', [CompletionResultType]::ParameterValue, 'Stand a network up and open a shell on one of its hosts')
            [CompletionResult]::new('on', 'on', [CompletionResultType]::ParameterValue, 'Run a command on another host, from within a lab''s shell')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Print the file of a network that comes with mcast, to start one''s own from')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'List the networks that come with mcast')
            break
        }
        'mcast;lab;run' {
            [CompletionResult]::new('-W', '-W ', [CompletionResultType]::ParameterName, 'Stop everything after so long (as `time_limit` in the file): 500ms, 10s, 2m')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Stop everything after so long (as `time_limit` in the file): 500ms, 10s, 2m')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print JSON: an object for each line that a program writes, and for each that starts or ends')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mcast;lab;shell' {
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mcast;lab;on' {
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            break
        }
        'mcast;lab;show' {
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
        'mcast;lab;list' {
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Print one JSON object a network')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Print no notes: only data, errors and what fails')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Print more notes')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help')
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
