<#
.SYNOPSIS
    Export a query to a file and prove that it is complete. Windows PowerShell 5.1 or PowerShell 7, nothing else.
.DESCRIPTION
    The file's suffix is the format. The file gets its name only if rows, bytes and SHA-256 match the service's.
    Set FLUXPORT_URL, FLUXPORT_SECRET and, if it is not "default", FLUXPORT_KEY_ID in the environment.
.EXAMPLE
    ./Export-Fluxport.ps1 stream "SELECT * FROM users" users.csv     # POST /v1/stream: the response is the file
.EXAMPLE
    ./Export-Fluxport.ps1 export "SELECT * FROM users" users.xlsx    # POST /export: a job, polled, then downloaded
.EXAMPLE
    ./Export-Fluxport.ps1 -SelfTest ../signing_vectors.json          # check the signatures against the vectors
#>
[CmdletBinding(DefaultParameterSetName = 'Export')]
param(
    [Parameter(ParameterSetName = 'Export', Mandatory, Position = 0)]
    [ValidateSet('stream', 'export')] [string] $Command,
    [Parameter(ParameterSetName = 'Export', Mandatory, Position = 1)] [string] $Query,
    [Parameter(ParameterSetName = 'Export', Mandatory, Position = 2)] [string] $Path,
    [Parameter(ParameterSetName = 'SelfTest', Mandatory)] [string] $SelfTest
)
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.Net.Http
. (Join-Path $PSScriptRoot 'Signing.ps1')

$Server = [Uri] $(if ($env:FLUXPORT_URL) { $env:FLUXPORT_URL } else { 'http://127.0.0.1:8080' })
$KeyId = if ($env:FLUXPORT_KEY_ID) { $env:FLUXPORT_KEY_ID } else { 'default' }
$Client = [System.Net.Http.HttpClient]::new()
$Client.Timeout = [TimeSpan]::FromMinutes(5)

# Send a request signed as v1, v2 or unsigned; the response, whose body is not read yet.
function Send-Request([string] $Version, [string] $Method, [string] $Target, $Data) {
    [byte[]] $body = @()
    if ($null -ne $Data) { $body = $Utf8.GetBytes((ConvertTo-Json $Data -Compress -Depth 9)) }
    $httpMethod = [System.Net.Http.HttpMethod]::new($Method)
    $request = [System.Net.Http.HttpRequestMessage]::new($httpMethod, [Uri]::new($Server, $Target))
    if ($body.Length) {
        $request.Content = [System.Net.Http.ByteArrayContent]::new($body)
        $request.Content.Headers.Add('Content-Type', 'application/json')
    }
    $now = [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()
    if ($Version -eq 'v1') {
        $request.Headers.Add('X-Timestamp', "$now")
        $request.Headers.Add('X-Signature', (Get-SignatureV1 $env:FLUXPORT_SECRET $Method $Target $body $now))
    } elseif ($Version -eq 'v2') {
        $nonce = [Guid]::NewGuid().ToString()
        $request.Headers.Add('X-Key-Id', $KeyId)
        $request.Headers.Add('X-Timestamp', "$now")
        $request.Headers.Add('X-Nonce', $nonce)
        $request.Headers.Add('X-Signature', (Get-SignatureV2 $env:FLUXPORT_SECRET $Method $Target $body $now $nonce))
    }
    $readHeaders = [System.Net.Http.HttpCompletionOption]::ResponseHeadersRead
    $response = $Client.SendAsync($request, $readHeaders).GetAwaiter().GetResult()
    if (-not $response.IsSuccessStatusCode) {
        $reason = $response.Content.ReadAsStringAsync().GetAwaiter().GetResult()
        throw "$Method ${Target}: $([int] $response.StatusCode) $reason"
    }
    $response
}

function Get-Answer([string] $Version, [string] $Method, [string] $Target, $Data) {
    $response = Send-Request $Version $Method $Target $Data
    try {
        $response.Content.ReadAsStringAsync().GetAwaiter().GetResult() | ConvertFrom-Json
    } finally {
        $response.Dispose()
    }
}

# Poll until the export has ended.
function Wait-Export([string] $Version, [string] $Target) {
    while ($true) {
        $job = Get-Answer $Version 'GET' $Target
        if ($job.status -eq 'completed') { return $job }
        if ($job.status -notin 'queued', 'running', 'pending', 'processing') {
            throw "the export failed: $(ConvertTo-Json $job -Compress -Depth 9)"
        }
        Start-Sleep -Seconds 1
    }
}

# Write the body of a response to a file.
function Save-Body($Response, [string] $File) {
    $stream = [System.IO.File]::Create($File)
    try {
        $null = $Response.Content.CopyToAsync($stream).GetAwaiter().GetResult()
    } finally {
        $stream.Dispose()
        $Response.Dispose()
    }
}

# The rows of a CSV: its line ends outside quotes, less the header.
function Measure-CsvRow([string] $File) {
    $reader = [System.IO.StreamReader]::new($File)
    $lines = 0
    $quoted = $false
    try {
        while ($null -ne ($line = $reader.ReadLine())) {
            if (($line.Split('"').Length - 1) % 2) { $quoted = -not $quoted }
            if (-not $quoted) { $lines++ }
        }
    } finally { $reader.Dispose() }
    $lines - 1
}

function Export-Query([string] $Command, [string] $Query, [string] $File) {
    $part = "$File.part"
    $format = [System.IO.Path]::GetExtension($File).TrimStart('.')
    try {
        if ($Command -eq 'stream') {
            $response = Send-Request 'v2' 'POST' '/v1/stream' @{ source = @{ query = $Query }; format = $format }
            $id = @($response.Headers.GetValues('X-Export-Id'))[0]
            Save-Body $response $part
            $expected = @((Wait-Export 'v2' "/v1/exports/$id").files)[0]
        } else {
            $created = Get-Answer 'v1' 'POST' '/export' @{ query = $Query; format = $format }
            $expected = Wait-Export 'v2' "/jobs?id=$($created.job_id)"   # v1 signatures would be the same for every job
            Save-Body (Send-Request 'unsigned' 'GET' $expected.download_url) $part
        }
        $rows = if ($format -eq 'csv') { Measure-CsvRow $part } else { $expected.rows }
        $got = "$rows rows, $((Get-Item -LiteralPath $part).Length) bytes, sha256 " +
            (Get-FileHash -LiteralPath $part -Algorithm SHA256).Hash.ToLowerInvariant()
        $sent = "$($expected.rows) rows, $($expected.bytes) bytes, sha256 $($expected.sha256)"
        if ($got -cne $sent) { throw "this is not the file the service stored: $got arrived; $sent sent" }
        Move-Item -LiteralPath $part -Destination $File -Force
        "${Path}: $got"
    } finally {
        if (Test-Path -LiteralPath $part) { Remove-Item -LiteralPath $part }
    }
}

try {
    if ($SelfTest) {
        Test-Signature $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($SelfTest)
    } else {
        if (-not $env:FLUXPORT_SECRET) { throw 'set FLUXPORT_SECRET' }
        Export-Query $Command $Query $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
    }
} catch {
    [Console]::Error.WriteLine($_.Exception.Message)
    exit 1
}
