"""ExternalMedia RTP: a call's audio in UDP datagrams. packet, payload, arrival -> connection -> transport."""
