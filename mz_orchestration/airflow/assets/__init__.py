"""Assets: what lies in Materialize, named as Airflow and OpenLineage name data."""
