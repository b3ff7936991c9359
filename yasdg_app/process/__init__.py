"""What a process of ours asks of the operating system: descriptors, ports, a terminal, an end within seconds."""
