function __fish_rtcomm_profiles
	set -l config $XDG_CONFIG_HOME
	test -n "$config"; or set config ~/.config
	for file in $config/rtcomm/*.env
		string replace -r '.*/(.*)\.env$' '$1' -- $file
	end
end

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_rtcomm_global_optspecs
    string join \n h/help V/version
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

complete -c rtcomm -n "__fish_rtcomm_needs_command" -s h -l help -d 'Print help'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -s V -l version -d 'Print version'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "watch" -d 'Print live Rtcomm events'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "call" -d 'Ask the server to connect two endpoints (3PCC), and wait for the reply'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "tail" -d 'Print recorded JSON lines, or every live message under the root'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "check" -d 'Check broker and server for a monitoring system'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "demo" -d 'Run an embedded broker and a simulated Rtcomm server, and print their events'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "completions" -d 'Print the completions for a shell'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "man" -d 'Show a man page, or print it to a pipe in roff'
complete -c rtcomm -n "__fish_rtcomm_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l from -d 'Select registrations of ID, and sessions from it' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l to -d 'Select sessions to ID' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l endpoint -d 'Select ID as FROM or TO' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l app-context -d 'Select events of this application' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l session-id -d 'Select a session by 4 or more digits of its ID' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l reason -d 'Select reasons that match a regular expression' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l state -d 'Select presence with this state, such as busy' -r -f -a "available\t''
busy\t''
away\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l summary -d 'Print totals of all calls, by endpoint, app or reason' -r -f -a "all\t'The total alone'
endpoint\t'A row for each endpoint; a call counts for both sides'
app\t'A row for each application'
reason\t'A row for each reason, with UUIDs, dates and numbers masked'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l top -d 'Print only the N rows with the most calls, and the total' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l max-age -d 'A call whose end is not seen for this long is lost [default: 12h]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s c -l count -d 'Exit after N printed records' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l for -d 'Exit after this time' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l qos -d 'Subscribe with this quality of service: 0, 1 or 2' -r -f -a "0\t''
1\t''
2\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l durable -d 'Have the broker keep a session with this name, and store messages between runs' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l durable-expiry -d 'How long the broker keeps the session after a disconnect (MQTT 5 only)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l durable-delete -d 'Delete the session with this name from the broker, and exit' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l share -d 'Share the messages with all clients of this group (shared subscription)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l output -d 'Append JSON lines to this file' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l max-retries -d 'Exit with 5 after N failed reconnects in a row [default: no limit]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s b -l broker -d 'Broker URL' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l profile -d 'Read settings from ~/.config/rtcomm/NAME.env' -x -a "(__fish_rtcomm_profiles)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s u -l username -d 'User name' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l password-file -d 'File whose first line is the password' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l cafile -d 'Trust the authorities in this PEM file' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l capath -d 'Trust the certificate authorities in this directory of hashed PEM files instead of the system\'s' -r -f -a "(__fish_complete_directories)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l cert -d 'Client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l key -d 'Private key of the client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l key-password-file -d 'Read the passphrase of the private key from the first line of this file (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l alpn -d 'Application protocol to offer in the TLS handshake, such as mqtt (repeatable)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l proxy -d 'Connect through this HTTP proxy: http://HOST:PORT [default for TLS: https_proxy from the environment]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l client-id -d 'MQTT client identifier [default: random]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l mqtt-version -d 'MQTT version; auto tries 5, then 3.1.1' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l keepalive -d 'MQTT keep-alive interval' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l connect-timeout -d 'Maximum time to connect' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l root -d 'Root of all topics' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l event-root -d 'Root of the event topics [default: ROOT/event]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l registration -d 'Select registrations'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l session -d 'Select sessions'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l presence -d 'Select presence: who is registered'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l started -d 'Select what started'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l modified -d 'Select what was modified'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l stopped -d 'Select what stopped'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l failed -d 'Select what failed'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l now -d 'With --presence: exit after all that are registered'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l gone -d 'With --presence: wait until all of --from are gone'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l cdr -d 'Print one record per call, at its end'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l json -d 'Print JSON lines'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l pretty -d 'Print lines for people, also with --output [default: JSON lines with --output]'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l dry-run -d 'Print the topic filters, and do not connect'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l fail-empty -d 'Exit with 7 if nothing matched'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l allow-partial -d 'Accept a partial grant: continue if the broker refuses some of several subscriptions'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l fsync -d 'Sync the file to disk before acknowledging a message'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l no-reconnect -d 'Exit with 5 if the connection is lost'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l status-events -d 'Also print connection changes as records: connected, ready, settled, disconnected, gap'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l discover -d 'Ask the server for its topics'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -l insecure -d 'Do not verify the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s t -l timeout -d 'Maximum time to wait for the reply' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l follow -d 'Wait until the session ends, at most for LIMIT' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l session-id -d 'ID for the new session' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l app-context -d 'Application of both endpoints' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l as -d 'Send as this endpoint: publish to TOPIC/ENDPOINT' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l reply-prefix -d 'Prefix of the reply topic, PREFIX/UUID [default: ROOT/reply]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l max-payload -d 'Ignore replies that are larger than this' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l batch -d 'Place the calls in this file (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l jobs -d 'Maximum number of calls waiting for replies' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l rate -d 'Maximum rate of calls, such as 50/s or 100/m' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l skip -d 'Skip the first N lines, to resume a batch' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s b -l broker -d 'Broker URL' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l profile -d 'Read settings from ~/.config/rtcomm/NAME.env' -x -a "(__fish_rtcomm_profiles)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s u -l username -d 'User name' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l password-file -d 'File whose first line is the password' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l cafile -d 'Trust the authorities in this PEM file' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l capath -d 'Trust the certificate authorities in this directory of hashed PEM files instead of the system\'s' -r -f -a "(__fish_complete_directories)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l cert -d 'Client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l key -d 'Private key of the client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l key-password-file -d 'Read the passphrase of the private key from the first line of this file (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l alpn -d 'Application protocol to offer in the TLS handshake, such as mqtt (repeatable)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l proxy -d 'Connect through this HTTP proxy: http://HOST:PORT [default for TLS: https_proxy from the environment]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l client-id -d 'MQTT client identifier [default: random]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l mqtt-version -d 'MQTT version; auto tries 5, then 3.1.1' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l keepalive -d 'MQTT keep-alive interval' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l connect-timeout -d 'Maximum time to connect' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l root -d 'Root of all topics' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l event-root -d 'Root of the event topics [default: ROOT/event]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l json -d 'Print the result as a JSON line; a batch always does'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l dry-run -d 'Print the request, and do not connect'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l discover -d 'Ask the server for its topics'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -l insecure -d 'Do not verify the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l from -d 'Select registrations of ID, and sessions from it' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l to -d 'Select sessions to ID' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l endpoint -d 'Select ID as FROM or TO' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l app-context -d 'Select events of this application' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l session-id -d 'Select a session by 4 or more digits of its ID' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l reason -d 'Select reasons that match a regular expression' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l state -d 'Select presence with this state, such as busy' -r -f -a "available\t''
busy\t''
away\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l summary -d 'Print totals of all calls, by endpoint, app or reason' -r -f -a "all\t'The total alone'
endpoint\t'A row for each endpoint; a call counts for both sides'
app\t'A row for each application'
reason\t'A row for each reason, with UUIDs, dates and numbers masked'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l top -d 'Print only the N rows with the most calls, and the total' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l max-age -d 'A call whose end is not seen for this long is lost [default: 12h]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s n -l lines -d 'Start with the last N records that match' -r -f -a "10\t''
100\t''
all\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l since -d 'Skip records before this time: 1h (ago), 04:34, today' -r -f -a "1h\t''
today\t''
yesterday\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l until -d 'Skip records after this time' -r -f -a "1h\t''
today\t''
yesterday\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s c -l count -d 'Exit after N printed records' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l for -d 'Exit after this time' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l qos -d 'Subscribe with this quality of service: 0, 1 or 2' -r -f -a "0\t''
1\t''
2\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l durable -d 'Have the broker keep a session with this name, and store messages between runs' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l durable-expiry -d 'How long the broker keeps the session after a disconnect (MQTT 5 only)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l durable-delete -d 'Delete the session with this name from the broker, and exit' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l share -d 'Share the messages with all clients of this group (shared subscription)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l output -d 'Append JSON lines to this file' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l max-retries -d 'Exit with 5 after N failed reconnects in a row [default: no limit]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s b -l broker -d 'Broker URL' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l profile -d 'Read settings from ~/.config/rtcomm/NAME.env' -x -a "(__fish_rtcomm_profiles)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s u -l username -d 'User name' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l password-file -d 'File whose first line is the password' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l cafile -d 'Trust the authorities in this PEM file' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l capath -d 'Trust the certificate authorities in this directory of hashed PEM files instead of the system\'s' -r -f -a "(__fish_complete_directories)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l cert -d 'Client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l key -d 'Private key of the client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l key-password-file -d 'Read the passphrase of the private key from the first line of this file (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l alpn -d 'Application protocol to offer in the TLS handshake, such as mqtt (repeatable)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l proxy -d 'Connect through this HTTP proxy: http://HOST:PORT [default for TLS: https_proxy from the environment]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l client-id -d 'MQTT client identifier [default: random]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l mqtt-version -d 'MQTT version; auto tries 5, then 3.1.1' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l keepalive -d 'MQTT keep-alive interval' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l connect-timeout -d 'Maximum time to connect' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l root -d 'Root of all topics' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l event-root -d 'Root of the event topics [default: ROOT/event]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l topic -d 'Live: subscribe to this topic filter (repeatable)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l registration -d 'Select registrations'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l session -d 'Select sessions'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l presence -d 'Select presence: who is registered'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l started -d 'Select what started'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l modified -d 'Select what was modified'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l stopped -d 'Select what stopped'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l failed -d 'Select what failed'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l cdr -d 'Print one record per call, at its end'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s f -l follow -d 'Wait for appended lines'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l json -d 'Print JSON lines'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l pretty -d 'Print lines for people, also with --output [default: JSON lines with --output]'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l anonymize -d 'Replace names by pseudonyms (needs --json)'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l dry-run -d 'Live: print the topic filters, and do not connect'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l fail-empty -d 'Exit with 7 if nothing matched'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l allow-partial -d 'Accept a partial grant: continue if the broker refuses some of several subscriptions'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l fsync -d 'Sync the file to disk before acknowledging a message'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l no-reconnect -d 'Exit with 5 if the connection is lost'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l status-events -d 'Also print connection changes as records: connected, ready, settled, disconnected, gap'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l discover -d 'Ask the server for its topics'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -l insecure -d 'Do not verify the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand tail" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s w -l warning -d 'Exit with 1 if a value is outside a range, such as connect=0.5' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s c -l critical -d 'Exit with 2 if a value is outside a range' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s t -l timeout -d 'Maximum time of the whole check' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s b -l broker -d 'Broker URL' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l profile -d 'Read settings from ~/.config/rtcomm/NAME.env' -x -a "(__fish_rtcomm_profiles)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s u -l username -d 'User name' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l password-file -d 'File whose first line is the password' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l cafile -d 'Trust the authorities in this PEM file' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l capath -d 'Trust the certificate authorities in this directory of hashed PEM files instead of the system\'s' -r -f -a "(__fish_complete_directories)"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l cert -d 'Client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l key -d 'Private key of the client certificate (PEM)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l key-password-file -d 'Read the passphrase of the private key from the first line of this file (`-` is standard input)' -r -F
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l alpn -d 'Application protocol to offer in the TLS handshake, such as mqtt (repeatable)' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l proxy -d 'Connect through this HTTP proxy: http://HOST:PORT [default for TLS: https_proxy from the environment]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l client-id -d 'MQTT client identifier [default: random]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l mqtt-version -d 'MQTT version; auto tries 5, then 3.1.1' -r -f -a "auto\t'5, or 3.1.1 if the broker refuses 5'
3.1.1\t'3.1.1'
5\t'5'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l keepalive -d 'MQTT keep-alive interval' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l connect-timeout -d 'Maximum time to connect' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l max-packet-size -d 'Largest MQTT packet to accept from the broker' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l root -d 'Root of all topics' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l json -d 'Print a JSON line, with all services'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l env -d 'Print shell assignments of the topics that the server names'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -l insecure -d 'Do not verify the broker\'s certificate'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l listen -d 'Listen on this address; port 0 is any free port' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l interval -d 'Time between two events' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l seed -d 'The same seed gives the same events [default: random]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l calls -d 'Call service: answer, fail, silent, delay=DURATION' -r -f -a "answer\t''
fail\t''
silent\t''
delay=2s\t''"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s c -l count -d 'Exit after N printed records' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l for -d 'Exit after this time' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l root -d 'Root of all topics' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l event-root -d 'Root of the event topics [default: ROOT/event]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l call-topic -d 'Topic of the call service [default: ROOT/callControl]' -r -f
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l serve -d 'Print RTCOMM_BROKER=URL instead of events'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l json -d 'Print JSON lines'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -l fail-empty -d 'Exit with 7 if nothing matched'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand completions" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand completions" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand completions" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand completions" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand man" -l color -d 'When to use color' -r -f -a "auto\t'On a terminal, unless NO_COLOR is set'
always\t'Also in files and pipes'
never\t'Never'"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand man" -s q -l quiet -d 'Print only warnings and errors'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand man" -s v -l verbose -d 'Print more messages about the run'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand man" -s h -l help -d 'Print help; --help lists all flags'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "watch" -d 'Print live Rtcomm events'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "call" -d 'Ask the server to connect two endpoints (3PCC), and wait for the reply'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "tail" -d 'Print recorded JSON lines, or every live message under the root'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "check" -d 'Check broker and server for a monitoring system'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "demo" -d 'Run an embedded broker and a simulated Rtcomm server, and print their events'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "completions" -d 'Print the completions for a shell'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "man" -d 'Show a man page, or print it to a pipe in roff'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand help; and not __fish_seen_subcommand_from watch call tail check demo completions man help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c rtcomm -n "__fish_rtcomm_using_subcommand watch" -f -a ""
complete -c rtcomm -n "__fish_rtcomm_using_subcommand call" -f -a ""
complete -c rtcomm -n "__fish_rtcomm_using_subcommand check" -f -a ""
complete -c rtcomm -n "__fish_rtcomm_using_subcommand demo" -f -a ""
complete -c rtcomm -n "__fish_rtcomm_using_subcommand completions" -f -a "bash zsh fish"
complete -c rtcomm -n "__fish_rtcomm_using_subcommand man" -f -a "watch call tail check demo completions man"
