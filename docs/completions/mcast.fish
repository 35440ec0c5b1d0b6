complete --keep-order --exclusive --command mcast --arguments "(MCAST_COMPLETE=fish mcast -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
