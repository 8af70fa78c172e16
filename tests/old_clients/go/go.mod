module oldclient

go 1.19
