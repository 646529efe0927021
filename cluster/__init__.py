"""Where it runs: settings, wiring, topology, scaling, deployment and the command line; the only importer of Ray."""
