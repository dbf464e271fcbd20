"""Run one embedded service alone in a folder: `python -m penstock.embedded kafka|postgres FOLDER`.

For tests and for a look at a service without the rest; an installation is run by `penstock up`.
"""

import argparse
from pathlib import Path

from penstock.embedded.jars import default_cache_dir
from penstock.embedded.kafka import KafkaPlace, exec_kafka
from penstock.embedded.postgres import PostgresPlace, exec_postgres


def main() -> None:
    """Become the service that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service", choices=["kafka", "postgres"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=19092, help="of Kafka")
    parser.add_argument("--controller-port", type=int, default=19093, help="of the controller in the same process")
    parser.add_argument("--not-durable", action="store_true", help="PostgreSQL may forget when power fails")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if options.service == "kafka":
        place = KafkaPlace(folder=folder, port=options.port, controller_port=options.controller_port)
        exec_kafka(place, jars_dir=default_cache_dir())
    exec_postgres(PostgresPlace(folder=folder, durable=not options.not_durable))


if __name__ == "__main__":
    main()
