//! Generated messages, clients, servers and JSON of mall's APIs, and their descriptors.
