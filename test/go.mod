module azwi/test

go 1.26.0

require azwi v0.0.0

replace azwi => ../
