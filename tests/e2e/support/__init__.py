"""What the end-to-end tests share: a server of their own, clients, sinks and a DNS zone."""
