<#
.SYNOPSIS
    Print the headers that sign a request, or a new secret. Windows PowerShell 5.1 or PowerShell 7, nothing else.
.DESCRIPTION
    Set FLUXPORT_SECRET and, if it is not "default", FLUXPORT_KEY_ID in the environment. Send the body as it was signed,
    byte for byte; a signature is valid for one request, within five minutes.
.EXAMPLE
    ./Sign-Request.ps1 POST /v1/stream '{"source": {"query": "SELECT 1 AS a"}}'
.EXAMPLE
    ./Sign-Request.ps1 POST /export -BodyFile request.json -V1     # FluxQuery's signature
.EXAMPLE
    ./Sign-Request.ps1 -NewSecret                                  # 64 hexadecimal characters
#>
[CmdletBinding(DefaultParameterSetName = 'Sign')]
param(
    [Parameter(ParameterSetName = 'Sign', Mandatory, Position = 0)] [string] $Method,
    [Parameter(ParameterSetName = 'Sign', Mandatory, Position = 1)] [string] $Target,
    [Parameter(ParameterSetName = 'Sign', Position = 2)] [string] $Body = '',
    [Parameter(ParameterSetName = 'Sign')] [string] $BodyFile,
    [Parameter(ParameterSetName = 'Sign')] [switch] $V1,
    [Parameter(ParameterSetName = 'Secret', Mandatory)] [switch] $NewSecret
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'Signing.ps1')

function New-Secret {
    $bytes = [byte[]]::new(32)
    $random = [System.Security.Cryptography.RandomNumberGenerator]::Create()
    try { $random.GetBytes($bytes) } finally { $random.Dispose() }
    ConvertTo-Hex $bytes
}

function Write-Header([string] $Name, [string] $Value) {
    "${Name}: $Value"
}

try {
    if ($NewSecret) {
        New-Secret
        return
    }
    if (-not $env:FLUXPORT_SECRET) { throw 'set FLUXPORT_SECRET' }
    $keyId = if ($env:FLUXPORT_KEY_ID) { $env:FLUXPORT_KEY_ID } else { 'default' }
    [byte[]] $bytes = $Utf8.GetBytes($Body)
    if ($BodyFile) {
        $file = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($BodyFile)
        [byte[]] $bytes = [System.IO.File]::ReadAllBytes($file)
    }
    $verb = $Method.ToUpperInvariant()
    $now = [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
    Write-Header 'X-Timestamp' "$now"
    if ($V1) {
        if ($keyId -cne 'default') { Write-Header 'X-Key-Id' $keyId }
        Write-Header 'X-Signature' (Get-SignatureV1 $env:FLUXPORT_SECRET $verb $Target $bytes $now)
    } else {
        $nonce = [Guid]::NewGuid().ToString()
        Write-Header 'X-Key-Id' $keyId
        Write-Header 'X-Nonce' $nonce
        Write-Header 'X-Signature' (Get-SignatureV2 $env:FLUXPORT_SECRET $verb $Target $bytes $now $nonce)
    }
} catch {
    [Console]::Error.WriteLine($_.Exception.Message)
    exit 1
}
