<#
.SYNOPSIS
    Run fluxport demo from this repository: an emulated MySQL, sample data and the service. Needs Python 3.11 or newer.
.DESCRIPTION
    The first start installs everything into a virtual environment in .venv at the root of the repository.
.EXAMPLE
    ./Start-Demo.ps1
.EXAMPLE
    ./Start-Demo.ps1 -Rows 100000 -Port 8081
.EXAMPLE
    ./Start-Demo.ps1 -Check      # export every format, read each file back, and exit
#>
[CmdletBinding()]
param(
    [ValidateRange(0, 2147483647)] [int] $Rows = 1000000,
    [ValidateRange(0, 65535)] [int] $Port,
    [switch] $Check
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$root = Split-Path (Split-Path $PSScriptRoot -Parent) -Parent
$environment = Join-Path $root '.venv'
# The programs of an environment are in Scripts on Windows, and in bin elsewhere.
$programs = Join-Path $environment $(if ([System.IO.Path]::DirectorySeparatorChar -eq '\') { 'Scripts' } else { 'bin' })
$python = Join-Path $programs 'python'

function Invoke-Program([string] $Program, [string[]] $Arguments) {
    & $Program @Arguments
    if ($LASTEXITCODE -ne 0) { throw "$Program ended with $LASTEXITCODE" }
}

try {
    if (-not (Test-Path -LiteralPath $programs)) {
        Invoke-Program 'python' @('-m', 'venv', $environment)
    }
    if (-not (Get-Command (Join-Path $programs 'fluxport') -ErrorAction SilentlyContinue)) {
        Invoke-Program $python @('-m', 'pip', 'install', '--quiet', "$root[demo]")
    }
    $arguments = @('-m', 'fluxport', 'demo', '--rows', "$Rows")
    if ($PSBoundParameters.ContainsKey('Port')) { $arguments += @('--port', "$Port") }
    if ($Check) { $arguments += '--check' }
    Invoke-Program $python $arguments
} catch {
    [Console]::Error.WriteLine($_.Exception.Message)
    exit 1
}
