module azwi

go 1.26.0
