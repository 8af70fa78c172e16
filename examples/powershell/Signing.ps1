# The two signatures of a request, with built-ins alone.
$Utf8 = [System.Text.UTF8Encoding]::new($false)

function ConvertTo-Hex([byte[]] $Bytes) {
    [BitConverter]::ToString($Bytes).Replace('-', '').ToLowerInvariant()
}

function Get-Sha256([byte[]] $Bytes) {
    $sha = [System.Security.Cryptography.SHA256]::Create()
    try { ConvertTo-Hex $sha.ComputeHash($Bytes) } finally { $sha.Dispose() }
}

function Get-Hmac([string] $Secret, [byte[]] $Message) {
    $hmac = [System.Security.Cryptography.HMACSHA256]::new($Utf8.GetBytes($Secret))
    try { ConvertTo-Hex $hmac.ComputeHash($Message) } finally { $hmac.Dispose() }
}

# FluxQuery's signature: METHOD + PATH + BODY + TIMESTAMP, the path without its query.
function Get-SignatureV1([string] $Secret, [string] $Method, [string] $Target, [byte[]] $Body, [long] $Timestamp) {
    $head = $Utf8.GetBytes($Method + $Target.Split('?')[0])
    Get-Hmac $Secret ([byte[]] ($head + $Body + $Utf8.GetBytes("$Timestamp")))
}

# Six lines, among them the query and the body's SHA-256; the nonce makes each request its own.
function Get-SignatureV2(
    [string] $Secret, [string] $Method, [string] $Target, [byte[]] $Body, [long] $Timestamp, [string] $Nonce
) {
    $lines = 'v2', $Method, $Target, "$Timestamp", $Nonce, (Get-Sha256 $Body)
    'v2=' + (Get-Hmac $Secret $Utf8.GetBytes($lines -join "`n"))
}

# Check both signatures against the vectors of the service's own tests.
function Test-Signature([string] $File) {
    $vectors = [System.IO.File]::ReadAllText($File, $Utf8) | ConvertFrom-Json
    foreach ($version in 'v1', 'v2') {
        foreach ($v in $vectors.$version) {
            $request = @($v.secret, $v.method, $v.target, [Convert]::FromBase64String($v.body_base64), $v.timestamp)
            $signature = if ($version -eq 'v1') { Get-SignatureV1 @request } else { Get-SignatureV2 @request $v.nonce }
            if ($signature -cne $v.signature) { throw "$version vector '$($v.name)' differs" }
        }
    }
    "$($vectors.v1.Count + $vectors.v2.Count) signatures agree"
}
