# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rtcomm_global_optspecs
    string join \n color= q/quiet v/verbose h/help V/version
end

function __fish_rtcomm_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_rtcomm_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_rtcomm_using_subcommand
    set -l cmd (__fish_rtcomm_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c rtcomm -n "__fish_rtcomm_needs_command" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Also in a pipe'
never\t'Nowhere'"
complete -c rtcomm -n "__fish_rtcomm_needs_command" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -s v -l verbose -d 'Say more about the run'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -s V -l version -d 'Print version'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "watch" -d 'Print live Rtcomm events, chosen by flags in Rtcomm\'s own words'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "call" -d 'Ask the server to connect two endpoints (3PCC), and wait for its reply'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "tail" -d 'Print recorded JSON lines, or every live message under the root'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "demo" -d 'Run an embedded broker and a simulated Rtcomm server, and show what happens there'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Also in a pipe'
never\t'Nowhere'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l from -d 'Registrations of, and calls from, this endpoint (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l to -d 'Calls to this endpoint (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l endpoint -d 'This endpoint on either side (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l app-context -d 'Events of this application (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l session-id -d 'Events of this session (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l reason -d 'Events whose reason this regular expression finds (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s c -l count -d 'End after N printed records' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l for -d 'End after this long: with 0, or with 124 where --count was not reached' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l qos -d 'Quality of service to subscribe with: 0, 1 or 2' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l durable -d 'Have the broker keep the session of this name: what is published while we are away waits for us' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l durable-expiry -d 'How long the broker keeps the session while we are away; MQTT 3.1.1 brokers decide that themselves' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l durable-delete -d 'Make the broker forget the session of this name, and end' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l share -d 'Divide the messages among all who give this group\'s name (a shared subscription)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l output -d 'Append to this file instead of standard output; SIGHUP opens it anew' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l max-retries -d 'End with 5 when N tries in a row could not mend a lost connection [default: no end]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s b -l broker -d 'Broker: mqtt://, mqtts://, ws:// or wss://, host and port (repeatable: tried in order)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s u -l username -d 'User name; the password comes from --password-file or RTCOMM_PASSWORD' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l password-file -d 'File whose first line is the password (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l cafile -d 'Trust the certificate authorities in this PEM file instead of the system\'s' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l capath -d 'Trust the certificate authorities in this folder of hashed PEM files instead of the system\'s' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l cert -d 'Client certificate, PEM' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l key -d 'The client certificate\'s private key, PEM' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l key-password-file -d 'File whose first line is the passphrase of the private key (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l alpn -d 'Application protocol to offer in the TLS handshake (repeatable), such as mqtt' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l proxy -d 'HTTP proxy to connect through: http://HOST:PORT [default for TLS: the environment\'s https_proxy]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l client-id -d 'MQTT client identifier [default: a fresh one]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l mqtt-version -d 'MQTT version; auto is 5, and 3.1.1 where the broker refuses 5' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l keepalive -d 'MQTT keep-alive interval' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l connect-timeout -d 'How long to wait for a connection to a broker' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l root -d 'Root of the deployment\'s topics' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l event-root -d 'Root of the events [default: ROOT/event]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s v -l verbose -d 'Say more about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l json -d 'Print one JSON object a line'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l dry-run -d 'Print the topic filters that would be subscribed to, and connect nowhere'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l registration -d 'Registrations of endpoints'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l session -d 'Sessions between endpoints'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l started -d 'What began'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l modified -d 'What changed'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l stopped -d 'What ended'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l failed -d 'What failed'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l fail-empty -d 'Exit with 7 where nothing matched'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l allow-partial -d 'Go on where the broker refuses some of several subscriptions'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l fsync -d 'Acknowledge a message only when the file is safe from a loss of power'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l no-reconnect -d 'End with 5 when the connection is lost'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l status-events -d 'Print what becomes of the connection as records too: connected, ready, disconnected, gap'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l insecure -d 'Do not check the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Also in a pipe'
never\t'Nowhere'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s t -l timeout -d 'How long to wait for the reply, from the start of the command; of a batch, from each request' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l session-id -d 'The ID that the session is to have; its events carry it as sigSessID' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l app-context -d 'The application whose registrations are meant' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l as -d 'Send as this endpoint: publish to TOPIC/ENDPOINT, where the broker holds each client to its own name' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l reply-prefix -d 'Where the reply is asked for: PREFIX/UUID [default: ROOT/reply]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l max-payload -d 'Ignore replies of more than this many bytes' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l batch -d 'Place the calls of this file (`-` is standard input), a JSON object a line: {"caller":ID,"callee":ID} and perhaps "session_id" and "app_context"' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l jobs -d 'How many calls may wait for their replies at a time' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l rate -d 'How many calls may begin in a time, such as 50/s or 100/m [default: as many as --jobs allows]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l skip -d 'Leave out the first N lines, to go on with a batch that was interrupted' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s b -l broker -d 'Broker: mqtt://, mqtts://, ws:// or wss://, host and port (repeatable: tried in order)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s u -l username -d 'User name; the password comes from --password-file or RTCOMM_PASSWORD' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l password-file -d 'File whose first line is the password (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l cafile -d 'Trust the certificate authorities in this PEM file instead of the system\'s' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l capath -d 'Trust the certificate authorities in this folder of hashed PEM files instead of the system\'s' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l cert -d 'Client certificate, PEM' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l key -d 'The client certificate\'s private key, PEM' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l key-password-file -d 'File whose first line is the passphrase of the private key (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l alpn -d 'Application protocol to offer in the TLS handshake (repeatable), such as mqtt' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l proxy -d 'HTTP proxy to connect through: http://HOST:PORT [default for TLS: the environment\'s https_proxy]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l client-id -d 'MQTT client identifier [default: a fresh one]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l mqtt-version -d 'MQTT version; auto is 5, and 3.1.1 where the broker refuses 5' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l keepalive -d 'MQTT keep-alive interval' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l connect-timeout -d 'How long to wait for a connection to a broker' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l root -d 'Root of the deployment\'s topics' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l event-root -d 'Root of the events [default: ROOT/event]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s v -l verbose -d 'Say more about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l json -d 'Print the outcome as one JSON object, as a batch always does'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l dry-run -d 'Print the request that would be published, and connect nowhere'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l insecure -d 'Do not check the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Also in a pipe'
never\t'Nowhere'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s n -l lines -d 'Begin with the last N recorded lines, or with all of them [default: all; with --follow 10]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l since -d 'Leave out what was received before this: a duration back from now, or an RFC 3339 time' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l until -d 'Leave out what was received after this' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l topic -d 'Live: subscribe to this topic filter instead of everything under the root (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l from -d 'Registrations of, and calls from, this endpoint (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l to -d 'Calls to this endpoint (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l endpoint -d 'This endpoint on either side (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l app-context -d 'Events of this application (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l session-id -d 'Events of this session (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l reason -d 'Events whose reason this regular expression finds (repeatable)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s c -l count -d 'End after N printed records' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l for -d 'End after this long: with 0, or with 124 where --count was not reached' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l qos -d 'Quality of service to subscribe with: 0, 1 or 2' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l durable -d 'Have the broker keep the session of this name: what is published while we are away waits for us' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l durable-expiry -d 'How long the broker keeps the session while we are away; MQTT 3.1.1 brokers decide that themselves' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l durable-delete -d 'Make the broker forget the session of this name, and end' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l share -d 'Divide the messages among all who give this group\'s name (a shared subscription)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l output -d 'Append to this file instead of standard output; SIGHUP opens it anew' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l max-retries -d 'End with 5 when N tries in a row could not mend a lost connection [default: no end]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s b -l broker -d 'Broker: mqtt://, mqtts://, ws:// or wss://, host and port (repeatable: tried in order)' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s u -l username -d 'User name; the password comes from --password-file or RTCOMM_PASSWORD' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l password-file -d 'File whose first line is the password (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l cafile -d 'Trust the certificate authorities in this PEM file instead of the system\'s' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l capath -d 'Trust the certificate authorities in this folder of hashed PEM files instead of the system\'s' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l cert -d 'Client certificate, PEM' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l key -d 'The client certificate\'s private key, PEM' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l key-password-file -d 'File whose first line is the passphrase of the private key (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l alpn -d 'Application protocol to offer in the TLS handshake (repeatable), such as mqtt' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l proxy -d 'HTTP proxy to connect through: http://HOST:PORT [default for TLS: the environment\'s https_proxy]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l client-id -d 'MQTT client identifier [default: a fresh one]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l mqtt-version -d 'MQTT version; auto is 5, and 3.1.1 where the broker refuses 5' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l keepalive -d 'MQTT keep-alive interval' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l connect-timeout -d 'How long to wait for a connection to a broker' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l root -d 'Root of the deployment\'s topics' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l event-root -d 'Root of the events [default: ROOT/event]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s v -l verbose -d 'Say more about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s f -l follow -d 'Go on with what is appended, through truncation and rotation'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l json -d 'Print one JSON object a line'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l dry-run -d 'Live: print the topic filters that would be subscribed to, and connect nowhere'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l registration -d 'Registrations of endpoints'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l session -d 'Sessions between endpoints'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l started -d 'What began'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l modified -d 'What changed'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l stopped -d 'What ended'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l failed -d 'What failed'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l fail-empty -d 'Exit with 7 where nothing matched'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l allow-partial -d 'Go on where the broker refuses some of several subscriptions'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l fsync -d 'Acknowledge a message only when the file is safe from a loss of power'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l no-reconnect -d 'End with 5 when the connection is lost'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l status-events -d 'Print what becomes of the connection as records too: connected, ready, disconnected, gap'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l insecure -d 'Do not check the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l color -d 'When to use colour' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set'
always\t'Also in a pipe'
never\t'Nowhere'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l listen -d 'Address of the broker; port 0 is any free one [default: 127.0.0.1:1883, or any free port where it is taken]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l interval -d 'How often something happens' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l seed -d 'The same seed tells the same story [default: another one each time]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l calls -d 'How the call service behaves: answer, fail, silent, or delay=DURATION' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s c -l count -d 'End after N printed records' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l for -d 'End after this long: with 0, or with 124 where --count was not reached' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l root -d 'Root of the deployment\'s topics' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l event-root -d 'Root of the events [default: ROOT/event]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s q -l quiet -d 'Say nothing but warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s v -l verbose -d 'Say more about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l serve -d 'Print RTCOMM_BROKER=URL once the broker accepts connections, and serve until interrupted'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l json -d 'Print one JSON object a line'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l fail-empty -d 'Exit with 7 where nothing matched'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail demo help" -f -a "watch" -d 'Print live Rtcomm events, chosen by flags in Rtcomm\'s own words'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail demo help" -f -a "call" -d 'Ask the server to connect two endpoints (3PCC), and wait for its reply'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail demo help" -f -a "tail" -d 'Print recorded JSON lines, or every live message under the root'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail demo help" -f -a "demo" -d 'Run an embedded broker and a simulated Rtcomm server, and show what happens there'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
