"""Hooks: connections from Airflow's store."""
