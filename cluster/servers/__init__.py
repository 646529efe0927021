"""Pulsar, Elasticsearch and MariaDB on this machine: fetched, started on loopback and stopped, for tests and for trying out."""
