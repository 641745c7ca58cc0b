/** What TensorFlow's context is created with: tensorflow.ConfigProto and its GPUOptions (config.proto), as encoded bytes. */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { RuntimeOptions } from "./options.ts";

/** Field numbers. */
const Config = { deviceCount: 1, intraOpThreads: 2, interOpThreads: 5, gpuOptions: 6 } as const;
const Gpu = { allowGrowth: 4, visibleDevices: 5, experimental: 9 } as const;
/** GPUOptions.Experimental, and its VirtualDevices. */
const virtualDevices = 1;
const memoryLimitMb = 1;

/** Wire types. */
const VARINT = 0;
const BYTES = 2;

/**
 * Threads; with device=cpu, no GPU at all; else one GPU, because TensorFlow takes memory of every GPU that it sees. Its number counts
 * what CUDA_VISIBLE_DEVICES leaves. A memory limit makes the GPU a virtual device of that size.
 */
export function contextConfig(options: Readonly<RuntimeOptions>): Uint8Array {
  const { device, gpuMemoryGrowth, gpuMemoryLimitMb } = options;
  const config = new BinaryWriter();
  if (device === "cpu")
    config.tag(Config.deviceCount, BYTES).fork().tag(1, BYTES).string("GPU").tag(2, VARINT).int32(0).join();
  config.tag(Config.intraOpThreads, VARINT).int32(options.intraOpThreads);
  config.tag(Config.interOpThreads, VARINT).int32(options.interOpThreads);
  if (device === "cpu") return config.finish();
  config.tag(Config.gpuOptions, BYTES).fork();
  config.tag(Gpu.allowGrowth, VARINT).bool(gpuMemoryGrowth);
  config.tag(Gpu.visibleDevices, BYTES).string(String(gpuNumber(device)));
  if (gpuMemoryLimitMb !== null) {
    config.tag(Gpu.experimental, BYTES).fork().tag(virtualDevices, BYTES).fork();
    config.tag(memoryLimitMb, BYTES).fork().float(gpuMemoryLimitMb).join(); // repeated floats, packed
    config.join().join();
  }
  return config.join().finish();
}

/** `cuda` is the first. */
function gpuNumber(device: string): number {
  return Number(device.split(":")[1] ?? 0);
}
