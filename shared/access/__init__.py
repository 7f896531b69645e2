"""Who may do what: keys, the tenants that they belong to, and what a tenant's requests may name."""
