"""A loyalty programme, from daily snapshots of customers and products and from change data of transactions."""
