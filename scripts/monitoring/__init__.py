"""What watches a running service: alert rules for Prometheus, and a dashboard for Grafana."""
