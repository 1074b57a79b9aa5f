"""What mkdocs runs while it builds the site: links into the repository, tables from the registry, formulas."""
