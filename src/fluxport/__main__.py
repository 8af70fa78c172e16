from fluxport.cli import main

main()
