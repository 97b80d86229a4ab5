"""HTTP that every blueprint shares: input, problems, pages, OpenAPI, limits, /docs."""
