"""The client of CrossTrade without its socket: engine on one side, protocol on the other, text frames in and out."""
