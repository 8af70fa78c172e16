from fluxport.cli import command

command()
