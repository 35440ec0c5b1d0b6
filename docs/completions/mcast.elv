set edit:completion:arg-completer[mcast] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) MCAST_COMPLETE="elvish" mcast -- $@words) | to-lines
}
