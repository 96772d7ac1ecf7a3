module azwi/test

go 1.26.0

require azwi v0.0.0

require golang.org/x/sync v0.24.0 // indirect

replace azwi => ../
