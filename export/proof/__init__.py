"""How every file is run, compared with the network in torch, and measured."""
