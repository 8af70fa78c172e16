module fluxport.example/export

go 1.19
