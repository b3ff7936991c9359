"""Services of the operating system for a process: descriptors, ports, a terminal, an exit within seconds."""
