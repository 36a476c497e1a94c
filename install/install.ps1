<#
.SYNOPSIS
Installs the Fieldpost agent of this folder as a service.

.DESCRIPTION
Copies agent.exe (or collector.exe) to Program Files, registers the service, enrols
the machine if there is a token, and starts it. Run again with a newer program it
upgrades: the service is stopped only while its program is replaced, and nothing in
%ProgramData%\Fieldpost is touched. Run it in a PowerShell that has an administrator's
rights.

.EXAMPLE
.\install.ps1 -Collector centre:4717 -Id pump-7 -TokenFile C:\token.txt

.EXAMPLE
.\install.ps1 -Program collector -Listen 0.0.0.0:4717
#>
[CmdletBinding()]
param(
    [ValidateSet('agent', 'collector')]
    [string] $Program = 'agent',
    [string] $Collector,
    [string] $Id,
    [string] $TokenFile,
    [string] $Listen,
    [switch] $NoStart
)

Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

# Invoke runs the program and stops at its first failure.
function Invoke([string] $Path, [string[]] $Arguments) {
    & $Path @Arguments
    if ($LASTEXITCODE -ne 0) {
        throw "$Path $($Arguments[0]) $($Arguments[1]) failed with exit code $LASTEXITCODE"
    }
}

$source = Join-Path $PSScriptRoot "$Program.exe"
$folder = Join-Path $env:ProgramFiles 'Fieldpost'
$target = Join-Path $folder "$Program.exe"
$config = Join-Path $env:ProgramData "Fieldpost\$Program.yaml"

if (-not (Test-Path -LiteralPath $source)) {
    throw "there is no $Program.exe beside this script"
}
if (Get-Service -Name "fieldpost-$Program" -ErrorAction SilentlyContinue) {
    Invoke $source @('service', 'upgrade')
}
else {
    New-Item -ItemType Directory -Force -Path $folder | Out-Null
    Copy-Item -LiteralPath $source -Destination $target -Force
}

$install = @('service', 'install')
if ($Id) { $install += @('--id', $Id) }
if ($Collector) { $install += @('--collector', $Collector) }
if ($Listen) { $install += @('--listen', $Listen) }
Invoke $target $install

if ($TokenFile) {
    $enroll = @('enroll', '--config', $config, '--token-file', $TokenFile)
    if ($Collector) { $enroll += @('--collector', $Collector) }
    Invoke $target $enroll
}
if (-not $NoStart) {
    Invoke $target @('service', 'start')
}
