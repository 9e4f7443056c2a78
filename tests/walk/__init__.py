"""The fault walk: a whole agentd around a call, on virtual time, with each request, each event and each peer failing in
turn. `just walk --help` tells how it is used."""
