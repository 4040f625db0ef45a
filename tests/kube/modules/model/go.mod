module model

go 1.26
