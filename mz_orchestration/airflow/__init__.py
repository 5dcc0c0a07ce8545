"""The Airflow provider: operators and hooks over the same core that the command line uses."""
