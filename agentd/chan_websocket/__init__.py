"""One transport: Asterisk's chan_websocket, a call's audio as messages of a WebSocket."""
